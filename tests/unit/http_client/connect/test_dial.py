"""One deadline for a connection: for its name, and for all of its addresses together."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from entrepot.http_client.connect.dial import Address, NameTimeoutError, connect, first_of, look_up
from entrepot.http_client.connect.ssrf_guard import DestinationError
from rig.ports import free_port
from rig.process import eventually
from rig.road import Road

ENOUGH = 30.0
"""Seconds that no test here waits for."""


def at(port: int) -> Address:
    return (socket.AF_INET, ("127.0.0.1", port))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def hole(listener: socket.socket) -> Iterator[int]:
    """A port that answers nothing: the kernel drops what comes."""
    road = Road(listener.getsockname()[1])
    road.freeze()
    yield road.port
    road.stop()


def test_an_address_that_answers_is_found_behind_those_that_do_not(
    listener: socket.socket, hole: int
) -> None:
    """Eight dead addresses do not use up the time of the ninth."""
    port = listener.getsockname()[1]
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    with first_of([at(hole), at(free_port()), at(hole), at(port)], ENOUGH, options) as found:
        assert found.getpeername() == ("127.0.0.1", port)
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_all_addresses_share_one_deadline(hole: int) -> None:
    """With one for each this would take minutes."""
    with pytest.raises(TimeoutError):
        first_of([at(hole)] * 1000, 0.3)


def test_a_refusal_by_all_is_one() -> None:
    with pytest.raises(ConnectionRefusedError):
        first_of([at(free_port())] * 2, ENOUGH)


def test_an_address_that_is_refused_is_not_tried(listener: socket.socket) -> None:
    """Not even where it would be the first to answer; where all are, the reason is said."""
    port = listener.getsockname()[1]
    seen = list[tuple[str, int]]()

    def refusal(address: str, port: int) -> str | None:
        seen.append((address, port))
        return None if address == "127.0.0.1" else "it is elsewhere"

    with connect("127.0.0.1", port, ENOUGH, refusal=refusal) as found:
        assert found.getpeername() == ("127.0.0.1", port)
    with pytest.raises(DestinationError, match="it is elsewhere"):
        connect("127.0.0.2", port, ENOUGH, refusal=refusal)
    assert seen == [("127.0.0.1", port), ("127.0.0.2", port)]


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one family leads nowhere the other is tried next, not last."""
    six, four = socket.AF_INET6, socket.AF_INET
    rows = [(six, 0, 0, "", ("::1", 1)), (six, 0, 0, "", ("::2", 1)), (four, 0, 0, "", ("1", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: rows)
    assert look_up("any", 1, ENOUGH) == [(six, ("::1", 1)), (four, ("1", 1)), (six, ("::2", 1))]


def test_a_resolver_that_says_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver knows no deadline; ours is kept none the less."""
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answered.wait(ENOUGH) and [])
    with pytest.raises(NameTimeoutError):
        connect("silent.example.test", 443, 0.05)
    answered.set()


def test_who_wants_a_name_at_once_waits_for_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs has a thread for each name, not for each who wants it."""
    asked, answered = list[str](), threading.Event()

    def getaddrinfo(host: str, *_: object, **_more: object) -> list[object]:
        asked.append(host)
        answered.wait(ENOUGH)
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for _ in range(3):
        with pytest.raises(NameTimeoutError):
            look_up("wanted.example.test", 443, 0.01)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(look_up, "wanted.example.test", 443, ENOUGH) for _ in range(5)]
        eventually(lambda: all(one.running() for one in answers), what="all wait")
        assert asked == ["wanted.example.test"]
        answered.set()
        assert {str(one.result()) for one in answers} == {
            str([(socket.AF_INET, ("192.0.2.1", 443))])
        }


def test_names_that_hang_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort; a name that is being looked up already may still be waited for."""
    answered = threading.Event()
    monkeypatch.setattr("entrepot.http_client.connect.dial._LOOK_UPS_AT_ONCE", 1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answered.wait(ENOUGH) and [])
    for host in ("wanted.example.test", "other.example.test"):
        with pytest.raises(NameTimeoutError):
            look_up(host, 443, 0.01)
    assert "look up other.example.test" not in {one.name for one in threading.enumerate()}
    answered.set()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid", ""])
def test_a_name_without_an_address_is_an_error_of_the_name(host: str) -> None:
    with pytest.raises(socket.gaierror):
        connect(host, 0, ENOUGH)
