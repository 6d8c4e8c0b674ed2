"""What single registries and clients do otherwise than others: one table, and the code for it.

Each row says who does what, where that is said or was seen, and which test proves that we cope. A
name, a number or a pattern of a single one stands below the table and nowhere else; comments
elsewhere may cite a row. A further quirk is a further row: of a client here, of a registry in
``quirk_rows``.
"""

import re

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirk_rows.quirk import Quirk
from entrepot.protocol.quirk_rows.registries import REGISTRIES

_DISTRIBUTION = "https://distribution.github.io/distribution"
_SEEN = "seen with dockerd 20.10 and 26.1, containerd 1.6 and 1.7, podman 4.3 and 5.4, skopeo 1.9"

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
        "fetch a blob in parts, each asked for to the end of the blob and left after 8 MiB, and ask"
        " for manifests by `bytes=0-`: each part begins at once, each byte comes from upstream"
        " once, and a part of a manifest is cut out of the whole",
        "https://github.com/containerd/containerd/blob/main/core/remotes/docker/fetcher.go"
        " (`open`); seen with containerd 2.1 and 2.4",
        "test_containerd_2_takes_a_layer_in_parts",
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
        "stargz-snapshotter",
        "asks for several ranges at once, and takes the parts, one part or the whole, but no 416:"
        " what is too much is answered by the whole",
        "https://github.com/containerd/stargz-snapshotter/blob/main/fs/remote/resolver.go",
        "test_what_is_left_of_several",
    ),
    Quirk(
        "podman, stargz-snapshotter",
        "wait for the last 51 bytes of an eStargz layer before all else: they come by themselves",
        "https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md;"
        " seen with podman 5.4",
        "test_podman_reads_the_footer_of_an_estargz_layer",
    ),
    Quirk(
        "stargz-snapshotter, soci-snapshotter",
        "ask for the first two bytes to see where they are sent, and go on there: nowhere else",
        "https://github.com/containerd/stargz-snapshotter/blob/main/fs/remote/resolver.go"
        " (`redirect`); seen with soci-snapshotter 0.4",
        "test_cold_warm_and_offline",
    ),
    Quirk(
        "soci-snapshotter",
        "wants `Accept-Ranges: bytes` in the answer to a range: each has it",
        "https://github.com/awslabs/soci-snapshotter/blob/main/fs/artifact_fetcher.go"
        " (`FetchRange`)",
        "test_soci_fetches_what_is_read",
    ),
    Quirk(
        "Ollama from 0.3.1 on",
        "asks for a blob once, reads no body, and fetches the parts, without its login, from the"
        " `Location` of a 307 to another host, or of a 200: it is told an address of the proxy's"
        " own, whose host is spelt in other letters, and the proxy knows by that address who asked",
        "https://github.com/ollama/ollama/blob/v0.32.15/server/download.go (`run`,"
        " `downloadChunk`); without: https://github.com/ollama/ollama/pull/9737",
        "test_ollama_pulls_cold_and_warm",
    ),
    Quirk(
        "Ollama, for models of many tensors",
        "asks for each blob once and reads the whole body, unless it is redirected to another host,"
        " then asks again: it is told the same address",
        "https://github.com/ollama/ollama/blob/v0.32.15/x/transfer/download.go (`resolve`)",
        "test_a_model_of_many_tensors_is_sent_once",
    ),
    Quirk(
        "Ollama",
        "writes whatever comes to a part's place, whatever the status: at such an address a range"
        " is never answered by the whole",
        "https://github.com/ollama/ollama/blob/v0.32.15/server/download.go (`downloadChunk`)",
        "test_a_part_is_never_answered_by_the_whole",
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
    r"|registry\.ollama\.ai|hf\.co"
)
"""Registries whose ``/v2/`` is not known to say what the probe wants to hear, or that so many
use that the first pull should not wait for it. Port 443 only."""

_ASKS_WHERE = re.compile(r"ollama(?:-transfer)?/")
"""How the ``User-Agent`` of a client begins that asks for a blob to learn where its bytes are."""


def asks_where(agent: str, ranges: str | None) -> bool:
    """Whether a GET of a blob asks for no byte of it, but for where to fetch them.

    By its ``User-Agent`` and ``Range``: Ollama fetches the bytes with another, or with none.
    """
    return ranges is None and _ASKS_WHERE.match(agent) is not None


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
