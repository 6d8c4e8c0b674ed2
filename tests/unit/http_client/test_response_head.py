"""The head of an answer: interim answers, and heads that never end, against real sockets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response_head import MOST_INTERIM
from entrepot.protocol.identifiers import Origin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"

Talk = Callable[[socket.socket], None]


@pytest.fixture
def ask() -> Iterator[Callable[[Talk], tuple[int, bytes]]]:
    """Send a request to a server that answers by this; its status and body."""
    listener = socket.create_server(("127.0.0.1", 0))
    upstream = HttpClient(Roots(None, None), read_seconds=0.5)
    threads: list[threading.Thread] = []

    def run(talk: Talk) -> tuple[int, bytes]:
        def answer() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1 << 16)
                talk(connection)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        target = Target(Origin("http", "127.0.0.1", listener.getsockname()[1]), "/v2/")
        with upstream.send("GET", target, (), SendOptions(Follow.NO)) as reply:
            return reply.status, reply.read_all(100)

    yield run
    upstream.close()
    for thread in threads:
        thread.join(10)
    listener.close()


def says(data: bytes) -> Talk:
    return lambda connection: connection.sendall(data)


def for_ever(data: bytes) -> Talk:
    """Send this again and again, until nobody listens any more."""

    def talk(connection: socket.socket) -> None:
        while True:
            connection.sendall(data)

    return talk


def dripping(data: bytes) -> Talk:
    """Send this again and again, so slowly that no single wait is too long."""

    def talk(connection: socket.socket) -> None:
        connection.settimeout(0.05)
        while True:
            connection.sendall(data)
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return

    return talk


@pytest.mark.parametrize(
    "interim",
    [b"", HINTS, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"],
    ids=["none", "103", "100", "102"],
)
@pytest.mark.parametrize("times", [1, MOST_INTERIM])
def test_interim_answers_are_passed_over(
    ask: Callable[[Talk], tuple[int, bytes]], interim: bytes, times: int
) -> None:
    """What comes before the answer is not the answer (RFC 9110 section 15.2)."""
    assert ask(says(interim * times + OK)) == (200, b"ok")


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (says(HINTS * (MOST_INTERIM + 1) + OK), "interim answers without end"),
        (for_ever(HINTS), "interim answers without end"),
        (for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"), "interim answers without end"),
        (says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"), "protocol"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + bytes(1 << 20) + b"\r\n\r\n"), "too long"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"), "too many"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), "ended within the head"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Le"), "ended within the head"),
        (says(b"HTTP/1.1 103 Early Hints\r\nLink"), "ended within the head"),
        (says(b"HTTP/1.1 200 OK\r\nX: y\r\n"), "ended within the head"),
        (says(b"HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 2\r\n\r\nok"), "no header field"),
        (dripping(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "stopped answering"),
        (says(b""), "broke off"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "no valid HTTP"),
        (says(b"HTTP/1.1 two hundred\r\n\r\n"), "no valid HTTP"),
        (says(b"HTTP/2.0 200 OK\r\n\r\n"), "no valid HTTP"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_head_that_cannot_be_used_is_an_error(
    ask: Callable[[Talk], tuple[int, bytes]], talk: Talk, why: str
) -> None:
    """It ends soon, and the error says what was wrong."""
    with pytest.raises(UpstreamError, match=why):
        ask(talk)


def test_a_head_must_come_in_time(ask: Callable[[Talk], tuple[int, bytes]]) -> None:
    """A byte now and then is no answer: all of the head shares one wait."""
    begun = b"HTTP/1.1 200 OK\r\nX: "

    def talk(connection: socket.socket) -> None:
        connection.sendall(begun)
        dripping(b"y")(connection)

    with pytest.raises(UpstreamError, match="stopped answering"):
        ask(talk)


def test_a_body_may_take_its_time(ask: Callable[[Talk], tuple[int, bytes]]) -> None:
    """The bound is the head's alone: each wait for the body has its own."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        connection.settimeout(0.03)
        for _ in range(30):
            connection.sendall(b"x")
            with suppress(TimeoutError):
                connection.recv(1)

    assert ask(talk) == (200, b"x" * 30)
