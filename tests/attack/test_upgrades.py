"""Upgraded connections (RFC 9110 section 7.8): blind tunnels, whatever protocol they go over to."""

import hashlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from io import BufferedIOBase
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.corporate import CorporateProxy, serving
from rig.faults import Exchange, FaultServer, Recorded
from rig.images import MIB
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "fault.example.test"
PLAIN = "web.example.test:8080"
MUCH = 96 * MIB
PIECE = bytes(range(256)) * 256
PATH = "/v2/app/attach"
GREETING = b"\r\n\r\nthe server speaks first\r\n"
EARLY = b"\n\nsent with the request"
WEBSOCKET = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
MADE_UP = "Upgrade: bananas/3\r\nConnection: upgrade\r\n"


def switched(exchange: Exchange) -> tuple[socket.socket, BufferedIOBase]:
    """Answer 101 with whatever was asked for, the first bytes right behind it.

    Returns where to send to, and where to read: some of it may have been read with the head.
    """
    exchange.read_body()
    wanted = exchange.request.headers["upgrade"]
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {wanted}\r\nConnection: Upgrade\r\n\r\n"
    exchange.raw(head.encode() + GREETING)
    exchange.hang_up()
    handler = exchange._handler  # noqa: SLF001
    return handler.connection, handler.rfile


def send_much(sock: socket.socket) -> None:
    for _ in range(MUCH // len(PIECE)):
        sock.sendall(PIECE)


def read_much(read: Callable[[int], bytes]) -> str:
    seen, left = hashlib.sha256(), MUCH
    while left and (data := read(min(left, 1 << 18))):
        seen.update(data)
        left -= len(data)
    return seen.hexdigest() if not left else f"{left} bytes are missing"


def digest_of_much() -> str:
    seen = hashlib.sha256()
    for _ in range(MUCH // len(PIECE)):
        seen.update(PIECE)
    return seen.hexdigest()


class Both:
    """A server that reads much, then sends much, and says what it got."""

    def __init__(self) -> None:
        self.early = b""
        self.got = ""
        self.over = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        sock, source = switched(exchange)
        self.early = source.read(len(EARLY))
        self.got = read_much(source.read1)
        send_much(sock)
        self.over.set()


def read_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def upgrade(sock: socket.socket, fields: str, host: str = FAULT, target: str = PATH) -> bytes:
    """Ask for an upgrade, with bytes of the new protocol behind; the head of the answer."""
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode() + EARLY)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(sock, 1)
    return head


@contextmanager
def plain_server() -> Iterator[FaultServer]:
    server = FaultServer(None)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("road", ["intercepted", "plain", "upstream proxy"])
def test_an_upgraded_connection_is_a_blind_tunnel(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,  # noqa: ARG001 started before
    faults: FaultServer,
    road: str,
) -> None:
    """Promise 6: 96 MiB both ways take no memory, and arrive as they were sent.

    What the client sent with its request is not lost, nor what the server says first.
    """
    with ExitStack() as stack:
        server, host, target = faults, FAULT, PATH
        options: dict[str, str] = {}
        if road == "plain":
            server, host, target = stack.enter_context(plain_server()), PLAIN, f"http://{PLAIN}{PATH}"
            options["resolve"] = f"{PLAIN}:127.0.0.1:{server.port}"
        if road == "upstream proxy":
            corporate = CorporateProxy(faults.resolve)
            stack.callback(corporate.stop)
            options["upstream_proxy"] = corporate.url
        entrepot = start_entrepot(**options)
        client = entrepot.client()
        for fields in (WEBSOCKET, MADE_UP):
            server.routes[PATH] = both = Both()
            dial = client.connection(f"http://{host}{PATH}").sock if road == "plain" else client.tunnel(FAULT)
            with closing(dial) as sock:
                before = entrepot.rss()
                entrepot.reset_rss_peak()
                assert upgrade(sock, fields, host, target).startswith(b"HTTP/1.1 101 ")
                assert read_exactly(sock, len(GREETING)) == GREETING
                send_much(sock)
                assert read_much(sock.recv) == digest_of_much()
                assert both.over.wait(60)
                assert (both.early, both.got) == (EARLY, digest_of_much())
                assert entrepot.rss_peak() - before < 20 * MIB
    assert "Traceback" not in entrepot.log
