"""The proxy's own pages."""

import json

import pytest

from entrepot.endpoints.own_pages import Pages
from entrepot.endpoints.untrusting_clients import described
from entrepot.protocol.messages import Answer
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint
from entrepot.upstream.discovery.untrusting_clients import UntrustingClient

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n"
UNTRUSTING = UntrustingClient(
    address="10.0.0.5",
    fingerprint=Fingerprint("0123456789ab", "Go"),
    hosts=("ghcr.io", "quay.io"),
    since=3600.0,
    last=1.0,
    refused=2,
    tunnelled=7,
    others_trust=True,
)


def content(answer: Answer) -> bytes:
    assert isinstance(answer.content, bytes)
    return answer.content


@pytest.fixture
def pages() -> Pages:
    return Pages(
        CERTIFICATE,
        lambda: {"blob_stored": 2, "blob_hits": 1},
        lambda: {"https://b.example.test": {"state": "down"}, "https://a.example.test": {}},
        lambda: described([UNTRUSTING], 1e9),
    )


def test_the_certificate_can_be_fetched(pages: Pages) -> None:
    """A client without the CA gets it from the proxy, as a file of PEM."""
    answer = pages.answer("GET", "/ca.pem")
    assert answer.status == 200
    assert answer.value("Content-Type") == "application/x-pem-file"
    assert content(answer) == CERTIFICATE


def test_the_state_is_json_with_sorted_counters(pages: Pages) -> None:
    """A monitor reads the state and every counter."""
    answer = pages.answer("GET", "/healthz?verbose=1")
    document = json.loads(content(answer))
    upstreams = {"https://a.example.test": {}, "https://b.example.test": {"state": "down"}}
    counters = {"blob_hits": 1, "blob_stored": 2}
    clients = document.pop("untrusting_clients")
    assert document == {"status": "ok", "counters": counters, "upstreams": upstreams}
    assert clients == [
        {
            "client": "10.0.0.5",
            "fingerprint": "0123456789ab",
            "library": "Go",
            "hosts": ["ghcr.io", "quay.io"],
            "since": "2001-09-09T00:46:40+00:00",
            "last": "2001-09-09T01:46:39+00:00",
            "refused": 2,
            "tunnelled": 7,
            "others_trust": True,
        }
    ]
    assert list(document["counters"]) == ["blob_hits", "blob_stored"]


def test_the_front_page_names_the_others(pages: Pages) -> None:
    """Who opens the proxy in a browser learns what it is."""
    text = content(pages.answer("GET", "/")).decode()
    assert "/ca.pem" in text
    assert "/healthz" in text


@pytest.mark.parametrize("path", ["/", "/ca.pem", "/healthz"])
def test_head_has_the_length_and_no_content(pages: Pages, path: str) -> None:
    """HEAD says what GET would send, and that nothing is to be kept."""
    head, get = pages.answer("HEAD", path), pages.answer("GET", path)
    assert (head.status, head.headers, head.content) == (200, get.headers, b"")
    assert get.value("Content-Length") == str(len(content(get)))
    assert get.value("Cache-Control") == "no-store"


@pytest.mark.parametrize("path", ["/ca.key", "/ca.pem/", "//ca.pem", "/CA.PEM", "/../ca.pem", ""])
def test_there_is_nothing_else(pages: Pages, path: str) -> None:
    """Other paths are 404, whatever they look like."""
    assert pages.answer("GET", path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_pages_are_only_read(pages: Pages, method: str) -> None:
    """Other methods are 405 and told what is allowed."""
    answer = pages.answer(method, "/healthz")
    assert (answer.status, answer.value("Allow")) == (405, "GET, HEAD")
