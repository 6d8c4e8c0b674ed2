"""The proxy's own pages."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.endpoints.health.readiness import Phase, Readiness
from entrepot.endpoints.health.untrusting_clients import described
from entrepot.endpoints.own_pages import Pages
from entrepot.endpoints.page_request import PageRequest
from entrepot.events.log import Events
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer
from entrepot.storage.store import Store
from entrepot.storage.store_thread import StoreThread
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint
from entrepot.upstream.discovery.untrusting_clients import UntrustingClient
from entrepot.upstream.host_outcomes import HostOutcomes, upstream_states

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
BAD, GOOD = (Origin("https", f"{name}.example.test", 443) for name in "ba")


def content(answer: Answer) -> bytes:
    assert isinstance(answer.content, bytes)
    return answer.content


@pytest.fixture
def readiness(tmp_path: Path) -> Iterator[Readiness]:
    with closing(Store(tmp_path / "data", 10**7)) as store:
        thread = StoreThread(store, Events(), time.monotonic)
        yield Readiness(thread, time.monotonic)
        thread.close()


@pytest.fixture
def pages(readiness: Readiness) -> Pages:
    outcomes = HostOutcomes(time.time)
    outcomes.answered(GOOD, 200, 0.01)
    outcomes.failed(BAD, "connection refused")
    readiness.phase = Phase.RUNNING
    return Pages(
        lambda: CERTIFICATE,
        lambda: {"blob_stored": 2, "blob_hits": 1},
        lambda: upstream_states(outcomes.known(), {}, {}),
        readiness,
        time.time,
        lambda: described([UNTRUSTING], 1e9),
    )


def ask(pages: Pages, path: str, method: str = "GET") -> Answer:
    return asyncio.run(pages.answer(PageRequest(method, path)))


def test_the_certificate_can_be_fetched(pages: Pages) -> None:
    """A client without the CA gets it from the proxy, as a file of PEM."""
    answer = ask(pages, "/ca.pem")
    assert answer.status == 200
    assert answer.value("Content-Type") == "application/x-pem-file"
    assert content(answer) == CERTIFICATE


def test_the_state_is_json_with_sorted_counters(pages: Pages) -> None:
    """A monitor reads the state, every counter, and every upstream, those in trouble first."""
    answer = ask(pages, "/healthz?verbose=1")
    document = json.loads(content(answer))
    assert (answer.status, document["status"]) == (200, "degraded")
    assert list(document["counters"].items()) == [("blob_hits", 1), ("blob_stored", 2)]
    assert list(document["upstreams"]) == [str(BAD), str(GOOD)]
    assert document["untrusting_clients"] == [
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


def test_a_proxy_that_takes_no_pulls_is_alive_and_not_ready(
    pages: Pages, readiness: Readiness
) -> None:
    """Who restarts what does not live must not restart what is just stopping, or starting."""
    for phase in (Phase.STARTING, Phase.DRAINING):
        readiness.phase = phase
        answers = [ask(pages, path) for path in ("/livez", "/readyz", "/healthz")]
        assert [answer.status for answer in answers] == [200, 503, 503]
        told = [json.loads(content(answer)) for answer in answers]
        assert [one["status"] for one in told] == ["ok", "not ready", "failing"]
        assert told[1]["reasons"] == told[2]["reasons"][:1]
        assert told[1]["reasons"][0]["code"] == phase.name.lower()


def test_the_front_page_names_the_others(pages: Pages) -> None:
    """Who opens the proxy in a browser learns what it is."""
    text = content(ask(pages, "/")).decode()
    for path in ("/ca.pem", "/livez", "/readyz", "/healthz"):
        assert path in text


@pytest.mark.parametrize("path", ["/", "/ca.pem", "/livez", "/readyz", "/healthz"])
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.DRAINING])
def test_head_has_the_length_and_no_content(
    pages: Pages, readiness: Readiness, path: str, phase: Phase
) -> None:
    """HEAD says what GET would send, and that nothing is to be kept."""
    readiness.phase = phase
    head, get = ask(pages, path, "HEAD"), ask(pages, path)
    assert (head.status, head.headers, head.content) == (get.status, get.headers, b"")
    assert get.value("Content-Length") == str(len(content(get)))
    assert get.value("Cache-Control") == "no-store"


@pytest.mark.parametrize("path", ["/ca.key", "/ca.pem/", "//ca.pem", "/CA.PEM", "/../ca.pem", ""])
def test_there_is_nothing_else(pages: Pages, path: str) -> None:
    """Other paths are 404, whatever they look like."""
    assert ask(pages, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_pages_are_only_read(pages: Pages, method: str) -> None:
    """Other methods are 405 and told what is allowed."""
    answer = ask(pages, "/healthz", method)
    assert (answer.status, answer.value("Allow")) == (405, "GET, HEAD")
