"""What single registries and clients do otherwise than others: one table, and the code for it.

Each row says who does what, where that is said or was seen, and which test proves that we cope. A
name, a number or a pattern of a single one stands below the table and nowhere else; comments
elsewhere may cite a row. A further quirk is a further row.
"""

import re
from dataclasses import dataclass

from entrepot.protocol.identifiers import Origin


@dataclass(frozen=True, slots=True)
class Quirk:
    """What somebody does otherwise."""

    who: str
    what: str
    """What they do, and after the colon what is done about it."""
    source: str
    """Where that is said; "seen" is our own observation, "reported" that of others."""
    test: str
    """The function that proves that it is dealt with, anywhere in ``tests/``."""


_DOCKER_DOCS = "https://docs.docker.com/docker-hub/usage/pulls/"
_DISTRIBUTION = "https://distribution.github.io/distribution"
_SEEN = "seen with dockerd 20.10 and 26.1, containerd 1.6 and 1.7, podman 4.3 and 5.4, skopeo 1.9"

REGISTRIES = (
    Quirk(
        "Docker Hub",
        "is called docker.io in image names and answers at registry-1.docker.io (index.docker.io"
        " too): all of them are one registry in options, accounts and mirrors",
        "https://github.com/distribution/reference/blob/main/normalize.go",
        "test_a_registry_is_named_by_its_host",
    ),
    Quirk(
        "Docker Hub",
        "has its official images below `library/`, which clients say and their users do not: what"
        " clients say counts",
        "https://github.com/distribution/reference/blob/main/normalize.go",
        "test_a_mirror_of_docker_hub_as_everybody_sets_one_up",
    ),
    Quirk(
        "Docker Hub",
        "is `https://index.docker.io/v1/` in docker's config.json: the same registry",
        "https://docs.docker.com/reference/cli/docker/login/",
        "test_a_key_names_a_registry",
    ),
    Quirk(
        "Docker Hub",
        "counts each GET of a manifest as a pull, but no HEAD: a tag is asked for by HEAD first",
        _DOCKER_DOCS,
        "test_a_known_tag_costs_a_head",
    ),
    Quirk(
        "Docker Hub",
        "says in fields of its own how many pulls are left, in a window of six hours: they are"
        " shown, and no wait that it asks for counts for longer",
        _DOCKER_DOCS,
        "test_the_last_figures_are_kept",
    ),
    Quirk(
        "Docker Hub",
        "has its token server on another host, auth.docker.io: one registrable domain is one party",
        f"{_DISTRIBUTION}/spec/auth/token/",
        "test_docker_hub_and_its_token_server_are_one",
    ),
    Quirk(
        "GitLab, self-hosted",
        "has its token server on the git host, perhaps of another domain: `realm` of the account"
        " names it, else it never sees the login",
        "https://docs.gitlab.com/administration/packages/container_registry/",
        "test_a_named_token_server_gets_the_login",
    ),
    Quirk(
        "ghcr.io, ACR, gcr.io, mcr.microsoft.com, Nexus and others",
        "are not known to say in `/v2/` what only a registry says: the well-known are not probed",
        f"{_DISTRIBUTION}/spec/api/#api-version-check",
        "test_well_known_registries_are_not_asked",
    ),
    Quirk(
        "ghcr.io",
        "answers 404 MANIFEST_UNKNOWN where `Accept` has not the type of what is there: what a tag"
        " is counts by `Accept`, and a 404 is never cached",
        "https://github.com/release-argus/Argus/issues/459",
        "test_another_accept_is_another_answer",
    ),
    Quirk(
        "public.ecr.aws",
        "answers every HEAD of a blob with 401, whatever the token: a blob is asked for by GET of"
        " its first byte, and a refused HEAD takes nothing away",
        "https://github.com/aws/containers-roadmap/issues/2671",
        "test_a_registry_that_refuses_every_head_of_a_blob_refuses_nobody",
    ),
    Quirk(
        "public.ecr.aws",
        "answers 400 to a token that has ended: 400 is a refusal, as 401 and 403 are",
        "https://github.com/lablup/backend.ai/pull/2549",
        "test_a_refusal_is_upstreams_own",
    ),
    Quirk(
        "Amazon S3 and other stores behind registries",
        "sign an address for one method: a redirected HEAD would be refused, so content is asked"
        " for by GET",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html",
        "test_a_content_network_shows_a_blob_by_its_length",
    ),
    Quirk(
        "Amazon S3, Azure Blob Storage, Google Cloud Storage",
        "answer 400 where `Authorization` comes along with a signed address: it crosses no hosts",
        "https://github.com/open-policy-agent/opa/issues/6580",
        "test_a_redirect_takes_neither_login_nor_token_along",
    ),
    Quirk(
        "Google Artifact Registry",
        "redirects to a relative `Location`: it is read as one",
        "RFC 9110 section 10.2.2; reported of *.pkg.dev",
        "test_a_relative_redirect_is_followed",
    ),
    Quirk(
        "registry.k8s.io",
        "redirects manifests too, to another host and repository: they are what they hash to",
        "https://github.com/kubernetes/registry.k8s.io/blob/main/cmd/archeio/docs/request-handling.md",
        "test_a_manifest_elsewhere_is_what_it_hashes_to",
    ),
    Quirk(
        "Harbor",
        "sets cookies, with a challenge too: no cookie goes to another client",
        "reported of Harbor 2",
        "test_nothing_of_one_answer_is_kept_for_the_next",
    ),
    Quirk(
        "Nexus",
        "spells the scheme of its challenge `BASIC`: schemes have no case",
        "RFC 9110 section 11.1; reported of Nexus 3",
        "test_challenges_are_read",
    ),
    Quirk(
        "registries behind a single sign-on or a portal",
        "answer anybody 200 with a login page: a status alone allows nothing",
        "seen",
        "test_a_login_page_is_no_leave",
    ),
    Quirk(
        "some registries and stores",
        "compress though nobody asked, or mark a layer (gzip by itself) as encoded: what the digest"
        " names is what is kept",
        "RFC 9110 section 8.4",
        "test_what_is_only_marked_as_encoded_comes_as_it_is",
    ),
    Quirk(
        "AWS load balancers, nginx",
        "have statuses of their own for a client without HTTP/2 (464) or a certificate (495, 496):"
        " such a server is left alone (``statuses.UNFIT``)",
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/"
        "load-balancer-troubleshooting.html, https://nginx.org/en/docs/http/ngx_http_ssl_module.html",
        "test_what_begins_to_want_certificates_is_left_alone_from_then_on",
    ),
    Quirk(
        "registries of old images",
        "have manifests of schema 1, whose digest is not that of their bytes: passed on uncached",
        "https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-1.md",
        "test_schema_1_passes_uncached",
    ),
)

CLIENTS = (
    Quirk(
        "docker, podman, skopeo",
        "open a connection for each request: a TLS context is kept for the host",
        _SEEN,
        "test_clients_connections_share_one_to_upstream",
    ),
    Quirk(
        "docker",
        "sends the lines of `Accept` in random order: order, lines and parameters do not count",
        _SEEN,
        "test_accept_order_and_lines_do_not_count",
    ),
    Quirk(
        "docker",
        "ends a pull where the answer to HEAD names no length: then the manifest is fetched",
        _SEEN,
        "test_a_head_without_a_length_is_given_one",
    ),
    Quirk(
        "docker, podman, skopeo",
        "show a login only to a challenge: where the proxy asks as an account, whoever has a login"
        " still gets the challenge",
        _SEEN,
        "test_a_login_of_ones_own_counts",
    ),
    Quirk(
        "containerd, podman, skopeo",
        "end a pull at the first 5xx, and docker one of a manifest: we ask again first",
        _SEEN,
        "test_what_may_pass_is_waited_out",
    ),
    Quirk(
        "containerd, docker with its store",
        "post a form to the token server, others send a GET: both are passed on and watched",
        f"{_DISTRIBUTION}/spec/auth/oauth/",
        "test_a_form_gets_its_token",
    ),
    Quirk(
        "containerd",
        "names the registry to a mirror by `?ns=`, and says it to the registry itself too: it is"
        " heard by a mirror, and ignored elsewhere",
        "https://github.com/containerd/containerd/blob/main/docs/hosts.md",
        "test_any_registry_is_named_by_the_client",
    ),
    Quirk(
        "docker, containerd",
        "go on to the registry itself where a mirror answers 404: so what a mirror may not give is"
        " a 404, never a challenge",
        _SEEN,
        "test_what_somebody_pulled_with_a_login_does_not_show",
    ),
    Quirk(
        "containerd 2, the kubelet",
        "fetch a blob by parallel ranges: each byte comes from upstream once",
        "seen with containerd 2.4",
        "test_a_kubelets_pull_by_parallel_ranges_fetches_each_blob_once",
    ),
    Quirk(
        "podman, for zstd:chunked",
        "asks for up to 1,024 ranges at once, and takes the parts for them one by one: each range"
        " gets a part of its own, in the order asked, where they touch or overlap too",
        "https://github.com/containers/image/blob/main/docker/docker_image_src.go"
        " (handle206Response), and chunked/storage_linux.go of containers/storage",
        "test_a_thousand_ranges_are_a_thousand_parts",
    ),
    Quirk(
        "docker and other programs in Go",
        "read `NO_PROXY` in a way of their own: it is read as they do",
        "https://pkg.go.dev/golang.org/x/net/http/httpproxy",
        "test_an_entry_covers_what_it_means",
    ),
)

QUIRKS = (*REGISTRIES, *CLIENTS)

HUB = Origin("https", "registry-1.docker.io", 443)
"""Where Docker Hub's images are."""
HUB_NAME = "docker.io"
"""What everybody calls it, in image names and in our options."""
HUB_HOSTS = (HUB.host, "index.docker.io")
"""The hosts at which it answers."""
HUB_LIBRARY = "library"
"""The first part of the names of its official images."""
HUB_WINDOW_SECONDS = 6 * 3600.0
"""In which its pulls are counted."""

RATE_LIMIT = "ratelimit-limit"
RATE_LIMIT_REMAINING = "ratelimit-remaining"
RATE_LIMIT_SOURCE = "docker-ratelimit-source"
"""Its fields, which others took over: ``100;w=21600`` and ``76;w=21600`` are pulls in a window of
seconds; the last is whom it counts, an address or an account."""

AWS_NO_HTTP_1 = 464
NGINX_NO_CERTIFICATE = frozenset({495, 496})
"""Statuses of their own: the client speaks another HTTP than what is behind a load balancer; its
certificate is wrong, or missing."""

_WELL_KNOWN = re.compile(
    r"(?:registry-1|index|auth)\.docker\.io"
    r"|ghcr\.io|quay\.io|(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev"
    r"|registry\.k8s\.io|mcr\.microsoft\.com|public\.ecr\.aws"
    r"|[0-9]{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"
    r"|[a-z0-9]+\.azurecr\.io|registry\.gitlab\.com|nvcr\.io|docker\.elastic\.co"
    r"|registry\.(?:access\.)?redhat\.(?:com|io)"
)
"""Registries whose ``/v2/`` is not known to say what the probe wants to hear, or that so many
use that the first pull should not wait for it. Port 443 only."""


def is_well_known(origin: Origin) -> bool:
    """Whether a well-known registry is there, or its token server."""
    https = origin.port == 443 and origin.scheme == "https"
    return https and _WELL_KNOWN.fullmatch(origin.host) is not None


def is_hub_name(host: str) -> bool:
    """Whether Docker Hub goes by this name, in any case."""
    return host.lower() in (HUB_NAME, *HUB_HOSTS)


def registry_at(origin: Origin) -> Origin:
    """The registry that is meant by an origin: Docker Hub's, where it has one of its names."""
    return HUB if origin.scheme == "https" and is_hub_name(origin.authority) else origin


def configured_name(origin: Origin) -> str:
    """What a registry is called in our options and files."""
    return HUB_NAME if is_hub_name(origin.authority) else origin.authority
