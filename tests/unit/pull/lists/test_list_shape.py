"""What is taken for a list of a registry, and what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.routes import Catalog, ListEndpoint, Referrers, TagList
from entrepot.pull.lists.list_shape import is_list, leads_elsewhere

DIGEST = Digest.of(b"subject")
TAGS, REFERRERS, CATALOG = TagList("app"), Referrers("app", DIGEST), Catalog()
OF_INDEX = {"digest": str(DIGEST), "mediaType": "application/x", "size": 1}


@pytest.mark.parametrize(
    ("endpoint", "document"),
    [
        (TAGS, {"name": "app", "tags": ["1", "2"]}),
        (TAGS, {"name": "app", "tags": []}),
        (TAGS, {"name": "app", "tags": None}),
        (TAGS, {"name": "app", "tags": ["1"], "manifest": {"sha256:1": {}}}),
        (CATALOG, {"repositories": ["app", "team/app"]}),
        (CATALOG, {"repositories": None}),
        (REFERRERS, {"schemaVersion": 2, "manifests": []}),
        (REFERRERS, {"schemaVersion": 2, "manifests": None}),
        (REFERRERS, {"schemaVersion": 2, "mediaType": "a", "manifests": [OF_INDEX]}),
    ],
)
def test_lists_as_registries_give_them(endpoint: ListEndpoint, document: object) -> None:
    assert is_list(endpoint, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("endpoint", "content"),
    [
        (TAGS, b""),
        (TAGS, b"<!doctype html><title>Log in</title>"),
        (TAGS, b"{}"),
        (TAGS, b"[]"),
        (TAGS, b'{"name": "app"}'),
        (TAGS, b'{"tags": []}'),
        (TAGS, b'{"name": "app", "tags": "1"}'),
        (TAGS, b'{"name": "app", "tags": [1]}'),
        (TAGS, b'{"name": "app", "tags": ["1"'),
        (TAGS, b'{"repositories": []}'),
        (TAGS, b'{"token": "secret"}'),
        (TAGS, b'{"errors": []}'),
        (TAGS, b"[" * 100_000),
        (TAGS, b"\xff\xfe"),
        (CATALOG, b'{"name": "app", "tags": []}'),
        (CATALOG, b'{"repositories": {}}'),
        (REFERRERS, b'{"manifests": []}'),
        (REFERRERS, b'{"schemaVersion": 1, "manifests": []}'),
        (REFERRERS, b'{"schemaVersion": 2}'),
        (REFERRERS, b'{"schemaVersion": 2, "config": {}, "layers": []}'),
        (REFERRERS, b'{"schemaVersion": 2, "manifests": [{}]}'),
        (REFERRERS, b'{"schemaVersion": 2, "manifests": ["sha256:1"]}'),
    ],
)
def test_what_is_no_list(endpoint: ListEndpoint, content: bytes) -> None:
    """Pages, errors, tokens, other lists, and what was cut."""
    assert not is_list(endpoint, content)


@given(st.binary(max_size=200), st.sampled_from([TAGS, CATALOG, REFERRERS]))
def test_any_bytes_have_an_answer(content: bytes, endpoint: ListEndpoint) -> None:
    assert is_list(endpoint, content) in (True, False)


@pytest.mark.parametrize(
    ("link", "elsewhere"),
    [
        (None, False),
        ('</v2/app/tags/list?last=1&n=1>; rel="next"', False),
        ('<?last=1>; rel="next"', False),
        ('<https://registry.example.test/v2/_catalog?last=a>; rel="next"', False),
        ('<https://Registry.Example.test:443/v2/_catalog?last=a>; rel="next"', False),
        ('<http://registry.example.test:5000/v2/_catalog>; rel="next"', False),
        ('<https://other.example.test/v2/_catalog>; rel="next"', True),
        ('<//other.example.test/v2/_catalog>; rel="next"', True),
        ('<https://user@registry.example.test/v2/_catalog>; rel="next"', True),
        ('</v2/a>; rel="next", <https://other.example.test/>; rel="x"', True),
    ],
)
def test_where_the_next_page_is(link: str | None, *, elsewhere: bool) -> None:
    """A page whose next one is another server's to give is not kept."""
    headers = () if link is None else (("link", link),)
    assert leads_elsewhere(headers, Origin("https", "registry.example.test", 443)) is elsewhere


def test_hosts_that_are_addresses() -> None:
    """An IPv6 address stands in brackets in a Link."""
    origin = Origin("https", "::1", 443)
    assert not leads_elsewhere((("Link", "<https://[::1]:443/v2/_catalog>"),), origin)
    assert not leads_elsewhere((("Link", "<https://[::1]/v2/_catalog>"),), origin)
    assert leads_elsewhere((("Link", "<https://[::2]/v2/_catalog>"),), origin)
