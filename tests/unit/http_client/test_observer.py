"""What an observer of the HTTP client hears: of each host that was asked, and how that ended."""

import threading

import pytest

from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.own_addresses import Listeners
from entrepot.http_client.connect.ssrf_guard import Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import Reach
from rig.faults import Content, Exchange, FaultServer, redirect, status
from rig.ports import free_port
from rig.requests import NAME, OTHER_NAME, SECRET, failure, get, target

HERE, THERE = f"http://{NAME}", f"http://{OTHER_NAME}"


class Heard:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | str]] = []
        self.seconds: list[float] = []

    def answered(self, origin: Origin, status: int, seconds: float) -> None:
        self.told.append((str(origin), status))
        self.seconds.append(seconds)

    def failed(self, origin: Origin, reason: str) -> None:
        self.told.append((str(origin), reason))


@pytest.fixture
def heard(upstream: HttpClient) -> Heard:
    upstream.observer = heard = Heard()
    return heard


def test_each_answer_is_heard_of_with_its_time(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    plain.routes = {"/a": status(200, b"whole"), "/b": status(503)}
    get(upstream, "/a")
    get(upstream, "/b")
    assert heard.told == [(HERE, 200), (HERE, 503)]
    assert all(0 < seconds < 10 for seconds in heard.seconds)


def test_a_redirect_is_the_answer_of_one_host_and_the_question_to_another(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    plain.routes = {"/a": redirect(f"{THERE}/b?sig={SECRET}"), "/b": status(503)}
    get(upstream, "/a")
    assert heard.told == [(HERE, 307), (THERE, 503)]


def test_no_answer_is_heard_of_with_its_reason(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    """Which says nothing of the URL."""
    plain.routes = {"/a": Exchange.cut}
    failure(upstream, target(f"/a?sig={SECRET}"))
    failure(upstream, Target(Origin("http", "127.0.0.1", port := free_port()), "/a"))
    assert heard.told == [
        (HERE, "the connection broke off"),
        (f"http://127.0.0.1:{port}", "connection refused"),
    ]


def test_a_body_that_breaks_off_is_a_failure(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    """Once, however often it is read; what nobody reads for its own sake is none."""
    plain.routes = {"/a": Content(b"cut short", cut_after=3)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) as reply:
        for _ in range(2):
            with pytest.raises(UpstreamError):
                reply.read_all(100)
    upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)).drain()
    assert heard.told == [(HERE, 200), (HERE, "the connection broke off"), (HERE, 200)]


def test_what_nobody_waits_for_any_more_says_nothing_of_a_host(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    """A connection that we end ourselves is no failure, before an answer or in its body."""
    asked, mended = threading.Event(), threading.Event()
    call = Call()

    def hangs(exchange: Exchange) -> None:
        asked.set()
        mended.wait(10)
        exchange.cut()

    def leave() -> None:
        asked.wait(10)
        call.abort()

    plain.routes = {"/a": hangs}
    leaver = threading.Thread(target=leave)
    leaver.start()
    with making(call), pytest.raises(UpstreamError):
        upstream.send("GET", target("/a"), (), SendOptions(Follow.NO, seconds=10))
    leaver.join()
    mended.set()
    assert heard.told == []


def test_who_is_asked_what_it_is_is_not_heard_of(
    upstream: HttpClient, plain: FaultServer, heard: Heard
) -> None:
    """A host that a client named is no upstream before it is known to be one."""
    plain.routes = {"/a": status(503), "/b": Exchange.cut}
    options = SendOptions(Follow.NO, observed=False)
    upstream.send("GET", target("/a"), (), options).close()
    with pytest.raises(UpstreamError):
        upstream.send("GET", target("/b"), (), options)
    assert heard.told == []


def test_a_redirect_that_is_not_followed_is_a_failure_of_who_sent_it(plain: FaultServer) -> None:
    """Promise 9: nobody is led back to the proxy; a monitor sees which registry tried."""
    destinations, ours = Destinations(lambda: 0.0), Origin("http", "127.0.0.1", free_port())
    destinations.listeners = Listeners([(ours.host, ours.port)])
    upstream = HttpClient(Roots(None, None), destinations=destinations)
    upstream.observer = heard = Heard()
    plain.routes = {"/a": redirect(f"{ours}/a?sig={SECRET}")}
    here = Origin("http", "127.0.0.1", plain.port)
    with pytest.raises(UpstreamError, match="is not followed"):
        upstream.send("GET", Target(here, "/a"), (), SendOptions(Follow.ANY, reach=Reach.ANYWHERE))
    upstream.close()
    answer, (host, reason) = heard.told
    assert (answer, host) == ((str(here), 307), str(here))
    assert str(reason).startswith(f"its redirect to {ours} is not followed: ")
    assert SECRET not in str(reason)
