"""Which header fields go upstream, to whom answers may go, and what says who asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.account import NOBODY
from entrepot.protocol.header_filters import (
    HOP_BY_HOP,
    content_fields,
    end_to_end,
    identity_fields,
    name_no_host,
    only,
    passed_on_fields,
    without,
)
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request

REGISTRY = Origin("https", "registry.example.test", 443)
NAMES = st.sampled_from([*sorted(HOP_BY_HOP), "Connection", "X-A", "X-B", "Accept", "TE"])
FIELDS = st.lists(st.tuples(NAMES, st.text() | st.sampled_from(["close, x-a", "X-B", "TE"])))


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ((("Accept", "a"), ("accept", "b")), (("Accept", "a"), ("accept", "b"))),
        ((("Connection", "close"), ("A", "1")), (("A", "1"),)),
        ((("Connection", "X-A, x-b"), ("x-a", "1"), ("X-B", "2"), ("X-C", "3")), (("X-C", "3"),)),
        ((("Connection", "x-a"), ("connection", "x-b"), ("X-A", "1"), ("X-B", "2")), ()),
        ((("Transfer-Encoding", "chunked"), ("TE", "trailers"), ("Trailer", "x")), ()),
        ((("Proxy-Authorization", "Basic eA=="), ("Keep-Alive", "5"), ("Upgrade", "h2c")), ()),
    ],
)
def test_fields_of_one_connection_are_not_passed_on(fields: Fields, kept: Fields) -> None:
    """Hop-by-hop fields go, and those that Connection names; the rest stays as it came."""
    assert end_to_end(fields) == kept


@given(FIELDS)
def test_no_hop_by_hop_field_is_ever_passed_on(fields: list[tuple[str, str]]) -> None:
    """Whatever Connection holds, the outcome is part of the fields, in order, and settled."""
    kept = end_to_end(tuple(fields))
    rest = iter(fields)
    assert all(pair in rest for pair in kept)
    assert not {name.lower() for name, _ in kept} & HOP_BY_HOP
    assert end_to_end(kept) == kept


def test_fields_are_chosen_by_name_in_any_case() -> None:
    """The rest stays as it came, in order."""
    fields = (("Accept", "a"), ("Set-Cookie", "b"), ("ACCEPT", "c"))
    assert only(fields, {"accept"}) == (("Accept", "a"), ("ACCEPT", "c"))
    assert without(fields, {"accept"}) == (("Set-Cookie", "b"),)


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "PRIVATE-TOKEN", "X-Unheard-Of"])
def test_what_is_not_known_may_say_who_asks(name: str) -> None:
    """An unknown scheme can only cost a question, never leak an answer."""
    request = Request("GET", REGISTRY, "/", headers=(("Accept", "a"), (name, "b")))
    assert identity_fields(request) == [(name.lower(), "b")]


@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Forwarded-Host", "Via", "Referer", "X-Unheard-Of"]
)
def test_what_servers_believe_of_a_host_teaches_nothing(name: str) -> None:
    """They may name the host that a client wants as the place to get a token."""
    assert name_no_host([("Host", "a"), ("Authorization", "b"), ("Accept", "c")])
    assert not name_no_host([("Host", "a"), (name, "b")])


CLIENTS = (
    ("Host", "registry.example.test"),
    ("Authorization", "Basic eA=="),
    ("Accept", "b/b, a/a"),
    ("Accept-Encoding", "gzip"),
    ("Range", "bytes=0-9"),
    ("Connection", "close"),
)


@pytest.mark.parametrize(
    ("path", "accept"), [("manifests/latest", "a/a,b/b"), (f"blobs/sha256:{'0' * 64}", "*/*")]
)
def test_content_is_asked_for_with_a_fixed_set(path: str, accept: str) -> None:
    """Who asks, and what is wanted of a manifest in one spelling; an account asks by itself."""
    request = Request("GET", REGISTRY, f"/v2/a/{path}", headers=CLIENTS)
    fixed = (("Accept", accept), ("Accept-Encoding", "identity"))
    assert content_fields(request) == (("authorization", "Basic eA=="), *fixed)
    ours = Request("GET", REGISTRY, f"/v2/a/{path}", headers=CLIENTS, account=NOBODY)
    assert content_fields(ours) == fixed


def test_what_is_passed_on_keeps_what_its_client_says() -> None:
    """But for what speaks of the connection, and what is made anew."""
    request = Request("GET", REGISTRY, "/v2/", headers=CLIENTS)
    assert passed_on_fields(request) == (
        ("Authorization", "Basic eA=="),
        ("Accept", "b/b, a/a"),
        ("Range", "bytes=0-9"),
        ("Accept-Encoding", "identity"),
    )
