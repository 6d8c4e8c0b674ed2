"""What is a request for a token, and what a token server's answer says."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.auth.grants import Access
from entrepot.auth.token_requests import (
    DEFAULT_SECONDS,
    Issued,
    asks_for_token,
    asks_to_write,
    parse_issued,
)
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


AUTH = Origin("https", "auth.docker.io", 443)


@pytest.mark.parametrize(
    ("method", "query", "kind", "asks"),
    [
        ("GET", "service=a&scope=repository:a/b:pull", "", True),
        ("GET", "account=alice&client_id=docker", "", True),
        ("GET", "", "", False),
        ("GET", "next=/home", "", False),
        ("HEAD", "service=a", "", False),
        ("PUT", "service=a", "", False),
        ("POST", "", "application/x-www-form-urlencoded", True),
        ("POST", "", "Application/X-WWW-Form-Urlencoded; charset=utf-8", True),
        ("POST", "service=a", "application/json", False),
        ("POST", "service=a", "", False),
    ],
)
def test_what_looks_like_a_request_for_a_token(
    method: str, query: str, kind: str, *, asks: bool
) -> None:
    """A query of the token specification's, or a form."""
    fields = (("Content-Type", kind),) if kind else ()
    assert asks_for_token(Request(method, AUTH, "/token", query, fields)) is asks


@pytest.mark.parametrize(
    ("document", "issued"),
    [
        ({"token": "a"}, Issued(("a",), DEFAULT_SECONDS)),
        ({"access_token": "a", "expires_in": 300}, Issued(("a",), 300.0)),
        ({"token": "a", "access_token": "b"}, Issued(("a", "b"), DEFAULT_SECONDS)),
        ({"token": "a", "access_token": 1}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": "a", "expires_in": 0}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": "a", "expires_in": -5}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": "a", "expires_in": True}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": "a", "expires_in": "300"}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": "a", "expires_in": math.nan}, Issued(("a",), DEFAULT_SECONDS)),
        ({"token": ""}, None),
        ({"token": None, "access_token": ["a"]}, None),
        ({}, None),
        ([{"token": "a"}], None),
        ("token", None),
    ],
)
def test_a_token_answer_is_read(document: object, issued: Issued | None) -> None:
    """Either name of the token counts, and a life that makes no sense is 60 seconds."""
    assert parse_issued(json.dumps(document).encode()) == issued


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_no_token(content: bytes) -> None:
    """Broken, deeply nested and absurd bodies are read as nothing."""
    assert parse_issued(content) is None


@pytest.mark.parametrize("digits", [309, 4000])
def test_a_life_beyond_every_float_is_read(digits: int) -> None:
    """A token server cannot raise an error here by an integer that no float holds."""
    issued = parse_issued(b'{"token":"a","expires_in":1' + b"0" * digits + b"}")
    assert issued is not None
    assert issued.tokens == ("a",)


@given(st.binary())
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    """Whatever a token server sends, the outcome is tokens or None."""
    issued = parse_issued(content)
    assert issued is None or issued.tokens


@given(st.dictionaries(st.sampled_from(["token", "access_token", "expires_in", "x"]), JSON))
def test_any_json_is_read_as_nonempty_tokens_and_a_positive_life(
    document: dict[str, object],
) -> None:
    """Every value of every field leads to something that can be used."""
    issued = parse_issued(json.dumps(document).encode())
    if issued is not None:
        assert all(issued.tokens)
        assert issued.seconds > 0


@pytest.mark.parametrize("token", ["\ud800", "\udcff", "\U0001f40b", "a b", "\0"])  # noqa: PT014 ruff takes both surrogates for one
def test_every_token_that_was_read_can_be_remembered(token: str) -> None:
    """A token of odd characters, as JSON may have them, is no error later either."""
    issued = parse_issued(json.dumps({"token": token}).encode())
    access = Access(b"secret")
    for value in issued.tokens if issued else ():
        access.credentials.token_issued(value, anonymous=True, expires=1.0, now=0.0)


@pytest.mark.parametrize(
    ("method", "query", "content", "writes"),
    [
        ("GET", "service=a&scope=repository:app:pull", b"", False),
        ("GET", "service=a", b"", False),
        ("GET", "scope=repository:app:pull,push", b"", True),
        ("GET", "scope=repository:app:pull&scope=repository:other:push", b"", True),
        ("GET", "scope=repository:app:pull+repository:other:delete", b"", True),
        ("GET", "scope=registry:catalog:*", b"", True),
        ("GET", "scope=repository:app:", b"scope=repository:app:push", False),
        ("POST", "", b"scope=repository%3Aapp%3Apull&grant_type=password", False),
        ("POST", "", b"grant_type=password&scope=repository%3Aapp%3Apull%2Cpush", True),
        ("POST", "", b"\xff=&scope=\xff", True),
    ],
)
def test_a_token_for_more_than_pulling(
    method: str, query: str, content: bytes, *, writes: bool
) -> None:
    """Of several scopes, in the query or in a form, one is enough."""
    request = Request(method, Origin("https", "auth.example.test", 443), "/token", query)
    assert asks_to_write(request, content) is writes
