"""One deadline for a connection: for its name, and for all of its addresses together."""

import socket
import threading
from collections.abc import Iterator

import pytest

from entrepot.connecting import Address, NameTimeoutError, connect, first_of, look_up
from rig.ports import free_port
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


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid", ""])
def test_a_name_without_an_address_is_an_error_of_the_name(host: str) -> None:
    with pytest.raises(socket.gaierror):
        connect(host, 0, ENOUGH)
