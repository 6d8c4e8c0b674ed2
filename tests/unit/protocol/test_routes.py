"""Which requests are for content, and that nothing but canonical spelling is."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.identifiers import Digest, Tag
from entrepot.protocol.routes import (
    Blob,
    Catalog,
    Endpoint,
    Manifest,
    Other,
    Ping,
    Referrers,
    TagList,
    Upload,
    parse_endpoint,
)

DIGEST = Digest("sha256", "a" * 64)
SHA512 = Digest("sha512", "b" * 128)
LATEST = Tag("latest")


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v2/", Ping()),
        ("/v2", Ping()),
        ("/v2/_catalog", Catalog()),
        (f"/v2/library/nginx/blobs/{DIGEST}", Blob("library/nginx", DIGEST)),
        (f"/v2/a/blobs/{SHA512}", Blob("a", SHA512)),
        ("/v2/library/nginx/manifests/latest", Manifest("library/nginx", LATEST)),
        (f"/v2/a/manifests/{DIGEST}", Manifest("a", DIGEST)),
        ("/v2/a/b/c/tags/list", TagList("a/b/c")),
        (f"/v2/a/referrers/{DIGEST}", Referrers("a", DIGEST)),
        ("/v2/a/blobs/uploads/", Upload("a")),
        ("/v2/a/b/blobs/uploads/6b3c9a93-af5d-473f-a4cf-9710022185cd", Upload("a/b")),
        ("/v2/a/blobs/uploads/x/y=z", Upload("a")),
    ],
)
def test_endpoint_is_recognised(path: str, endpoint: Endpoint) -> None:
    """Every endpoint of the specification, and the catalog, is told from its path."""
    assert parse_endpoint("GET", path, "") == endpoint


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        (f"/v2/a/blobs/blobs/{DIGEST}", Blob("a/blobs", DIGEST)),
        (f"/v2/blobs/blobs/{DIGEST}", Blob("blobs", DIGEST)),
        (f"/v2/a/manifests/b/blobs/{DIGEST}", Blob("a/manifests/b", DIGEST)),
        (f"/v2/a/blobs/uploads/blobs/{DIGEST}", Blob("a/blobs/uploads", DIGEST)),
        ("/v2/a/blobs/uploads/manifests/latest", Manifest("a/blobs/uploads", LATEST)),
        ("/v2/manifests/manifests/manifests", Manifest("manifests", Tag("manifests"))),
        ("/v2/a/tags/manifests/list", Manifest("a/tags", Tag("list"))),
        ("/v2/a/manifests/tags/list", TagList("a/manifests")),
        ("/v2/tags/tags/list", TagList("tags")),
        ("/v2/a/tags/list/tags/list", TagList("a/tags/list")),
        ("/v2/a/manifests/list", Manifest("a", Tag("list"))),
        ("/v2/a/blobs/uploads/blobs/uploads/x", Upload("a/blobs/uploads")),
        ("/v2/a/manifests/blobs/uploads/", Upload("a/manifests")),
        ("/v2/a/blobs/uploads/manifests", Upload("a")),
        (f"/v2/a/manifests/referrers/{DIGEST}", Referrers("a/manifests", DIGEST)),
    ],
)
def test_last_marker_decides(path: str, endpoint: Endpoint) -> None:
    """A repository's name may hold the markers, since `<name>` takes all it can."""
    assert parse_endpoint("GET", path, "") == endpoint


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "v2/",
        "/v1/",
        "/v2x/",
        "/V2/",
        "//v2/",
        "/v2//",
        "/v2/?",
        "/v2/_catalog/",
        "/v2/a",
        "/v2/blobs/" + str(DIGEST),
        "/v2/manifests/latest",
        "/v2/tags/list",
        "/v2/blobs/uploads/",
        "/v2/a/tags",
        "/v2/a/tags/",
        "/v2/a/tags/list/",
        "/v2/a/tags/List",
        "/v2/a/blobs/uploads",
        "/v2/a/blobs/",
        "/v2/a/manifests/",
        "/v2/a/manifests/latest/",
        f"/v2/a/blobs/{DIGEST}/",
        f"/v2/a/blobs/{DIGEST}\n",
        f"/v2/a/blobs/{DIGEST}#x",
        f"/v2/a/blobs/{DIGEST}?x",
        f"/v2/a/blobs/{DIGEST}%00",
        f"/v2/a/blobs/{str(DIGEST).upper()}",
        f"/v2/a/blobs/{quote(str(DIGEST))}",
        f"/v2/a/blobs/sha384:{'a' * 96}",
        "/v2/a/blobs/latest",
        f"/v2/a/referrers/sha1:{'a' * 40}",
        "/v2/a/referrers/latest",
        f"/v2/a/../b/blobs/{DIGEST}",
        f"/v2/a/./blobs/{DIGEST}",
        f"/v2/a//blobs/{DIGEST}",
        f"/v2//a/blobs/{DIGEST}",
        f"//v2/a/blobs/{DIGEST}",
        f"/v2/a%2fb/blobs/{DIGEST}",
        f"/v2/a\\b/blobs/{DIGEST}",
        f"/v2/ä/blobs/{DIGEST}",
        f"/v2/{'a' * 256}/blobs/{DIGEST}",
        f"https://ghcr.io/v2/a/blobs/{DIGEST}",
        "/v2/a/manifests/..",
        "/v2/a/manifests/latest%0a",
        f"/v2/a/manifests/{'a' * 129}",
        "/v2/a/blobs/uploads/../../manifests/latest",
        "/v2/a/blobs/uploads/x//y",
        "/v2/a/blobs/uploads/%2e%2e/x",
        "/v2/a/blobs/uploads/" + "x" * 5000,
        "/v2/" + "a/" * 3000,
        "/token",
    ],
)
def test_all_else_is_other(path: str) -> None:
    """What a registry might read differently from us is not ours to answer."""
    assert parse_endpoint("GET", path, "") == Other()


@pytest.mark.parametrize("query", ["", "ns=docker.io", "ns=", "ns=localhost:5000", "ns=%00%2f"])
@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_namespace_query_is_ignored(kind: str, query: str) -> None:
    """The `ns` that containerd adds does not change which content is asked for."""
    endpoint = parse_endpoint("GET", f"/v2/a/{kind}/{DIGEST}", query)
    assert isinstance(endpoint, Blob | Manifest)


@pytest.mark.parametrize(
    "query", ["x=1", "ns=a&x=1", "x=1&ns=a", "ns=a;x=1", "NS=a", "ns", "?", "&"]
)
@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_other_queries_on_content_are_other(kind: str, query: str) -> None:
    """A query on content may change what is answered, so it is passed through."""
    assert parse_endpoint("GET", f"/v2/a/{kind}/{DIGEST}", query) == Other()


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v2/a/blobs/uploads/", Upload("a")),
        ("/v2/a/tags/list", TagList("a")),
        (f"/v2/a/referrers/{DIGEST}", Referrers("a", DIGEST)),
        ("/v2/_catalog", Catalog()),
        ("/v2/", Ping()),
    ],
)
def test_query_elsewhere_does_not_count(path: str, endpoint: Endpoint) -> None:
    """Uploads and lists take parameters of their own."""
    assert parse_endpoint("GET", path, "digest=x&n=5") == endpoint


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v2/", {"GET", "HEAD"}),
        ("/v2/_catalog", {"GET", "HEAD"}),
        ("/v2/a/tags/list", {"GET", "HEAD"}),
        (f"/v2/a/referrers/{DIGEST}", {"GET", "HEAD"}),
        (f"/v2/a/blobs/{DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("/v2/a/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("/v2/a/blobs/uploads/", {"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"}),
    ],
)
def test_method_belongs_to_its_endpoint(path: str, methods: set[str]) -> None:
    """A method that the endpoint does not have makes the request Other."""
    known = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "get", ""]
    taken = {m for m in known if parse_endpoint(m, path, "") != Other()}
    assert taken == methods


def test_detail_names_each_endpoint() -> None:
    """`detail` is the token that Cache-Status says."""
    kinds = (Ping, Catalog, Blob, Manifest, Upload, TagList, Referrers, Other)
    assert [kind.detail for kind in kinds] == [
        "ping",
        "catalog",
        "blob",
        "manifest",
        "upload",
        "tags",
        "referrers",
        "other",
    ]


PIECES = st.sampled_from(
    [
        "/v2",
        "/",
        "a",
        "blobs",
        "uploads",
        "manifests",
        "tags",
        "list",
        "..",
        "%2e",
        str(DIGEST),
        "\n",
    ]
)


@given(
    st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST"]),
    st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map("/v2/".join)),
    st.text(max_size=10),
)
def test_never_raises(method: str, path: str, query: str) -> None:
    """Any text has an endpoint."""
    parse_endpoint(method, path, query)


NAMES = st.lists(
    st.sampled_from(["a", "b-c", "blobs", "uploads", "manifests", "tags", "list", "referrers"]),
    min_size=1,
    max_size=6,
).map("/".join)


@given(NAMES)
def test_content_path_is_rebuilt_from_its_endpoint(name: str) -> None:
    """A path that names content stands for exactly one repository and reference."""
    assert parse_endpoint("GET", f"/v2/{name}/blobs/{DIGEST}", "") == Blob(name, DIGEST)
    assert parse_endpoint("GET", f"/v2/{name}/manifests/latest", "") == Manifest(name, LATEST)


@given(st.lists(PIECES).map("/".join).map("/v2/".__add__))
def test_content_has_one_spelling(path: str) -> None:
    """Two different paths never name the same content."""
    match parse_endpoint("GET", path, ""):
        case Blob(name, digest):
            assert path == f"/v2/{name}/blobs/{digest}"
        case Manifest(name, reference):
            assert path == f"/v2/{name}/manifests/{reference}"
        case _:
            pass
