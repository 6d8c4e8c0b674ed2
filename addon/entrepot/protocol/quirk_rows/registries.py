"""What single registries, and the stores behind them, do otherwise than others."""

from entrepot.protocol.quirk_rows.quirk import Quirk

_DOCKER_DOCS = "https://docs.docker.com/docker-hub/usage/pulls/"
_DISTRIBUTION = "https://distribution.github.io/distribution"

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
        " its first byte, for who asks by HEAD too, and a refused HEAD takes nothing away",
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
        "registry.ollama.ai, hf.co",
        "are registries of models that answer at a site of their own: they are well-known."
        " huggingface.co is not, though it answers too: most of what is asked there is no"
        " registry's",
        "https://github.com/ollama/ollama/blob/main/types/model/name.go,"
        " https://huggingface.co/docs/hub/ollama",
        "test_well_known_registries_are_not_asked",
    ),
    Quirk(
        "registry.ollama.ai, hf.co",
        "have repositories with upper-case letters, which the specification has not: case counts",
        "https://github.com/ollama/ollama/blob/main/types/model/name.go (`isValidPart`)",
        "test_a_repository_of_models_may_have_upper_case_letters",
    ),
    Quirk(
        "hf.co",
        "redirects blobs by 302, which Ollama does not take: redirects are followed here",
        "https://github.com/ollama/ollama/pull/10197",
        "test_ollama_pulls_what_its_registry_redirects",
    ),
    Quirk(
        "some registries",
        "name no `Docker-Content-Digest`, or know no HEAD: a GET tells what a HEAD leaves out",
        "https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pull (SHOULD)",
        "test_a_head_has_a_digest_whatever_the_registry_says",
    ),
    Quirk(
        "registries of old images",
        "have manifests of schema 1, whose digest is not that of their bytes: passed on uncached",
        "https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-1.md",
        "test_schema_1_passes_uncached",
    ),
)
