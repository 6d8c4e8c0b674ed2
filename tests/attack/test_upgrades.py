"""Upgraded connections (RFC 9110 section 7.8): blind tunnels, whatever protocol they go over to."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.corporate import CorporateProxy
from rig.faults import Exchange, FaultServer, status
from rig.images import MIB
from rig.process import eventually
from rig.proxy import Entrepot, Option
from rig.tcp_table import LOOPBACK, tcp_sockets
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


@pytest.mark.unforked
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
        options: dict[str, Option] = {}
        if road == "plain":
            server, host, target = (
                stack.enter_context(plain_server()),
                PLAIN,
                f"http://{PLAIN}{PATH}",
            )
            options["resolve"] = f"{PLAIN}:127.0.0.1:{server.port}"
        if road == "upstream proxy":
            corporate = CorporateProxy(faults.resolve)
            stack.callback(corporate.stop)
            options["upstream_proxy"] = corporate.url
        entrepot = start_entrepot(**options)  # type: ignore[arg-type] # of none but options
        client = entrepot.client()
        for fields in (WEBSOCKET, MADE_UP):
            server.routes[PATH] = both = Both()
            dial = (
                client.connection(f"http://{host}{PATH}").sock
                if road == "plain"
                else client.tunnel(FAULT)
            )
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


@pytest.fixture
def web() -> Iterator[FaultServer]:
    """A server without TLS: bytes can be sent and read on it at once, by two threads."""
    with plain_server() as server:
        server.routes["/v2/"] = status(404)
        yield server


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", web: FaultServer) -> Entrepot:
    """A proxy that tunnels to it by CONNECT, and passes upgrades on to it."""
    places = (PLAIN, "tunnel.test:443")
    resolve = [f"{place}:127.0.0.1:{web.port}" for place in places]
    return start_entrepot(idle="1s", only_listed=True, resolve=resolve)


@contextmanager
def roads(proxy: Entrepot) -> Iterator[list[socket.socket]]:
    """An upgraded connection and a tunnel of CONNECT, whose server has sent its greeting."""
    client, target = proxy.client(), f"http://{PLAIN}{PATH}"
    with (
        closing(client.connection(target).sock) as upgraded,
        client.connect("tunnel.test") as tunnel,
    ):
        for sock, named in ((upgraded, target), (tunnel, PATH)):
            assert upgrade(sock, MADE_UP, PLAIN, named).startswith(b"HTTP/1.1 101 ")
            assert read_exactly(sock, len(GREETING)) == GREETING
        yield [upgraded, tunnel]


def test_one_direction_may_end_before_the_other(proxy: Entrepot, web: FaultServer) -> None:
    """Promise 4: who has sent all can still be answered, on either side."""

    def sum_up(exchange: Exchange) -> None:
        sock, source = switched(exchange)
        sock.sendall(b"got %d" % len(source.read()))

    def read_on(exchange: Exchange) -> None:
        sock, source = switched(exchange)
        sock.shutdown(socket.SHUT_WR)
        heard.append(source.read())

    heard: list[bytes] = []
    web.routes[PATH] = sum_up
    with roads(proxy) as socks:
        for sock in socks:
            sock.sendall(PIECE)
            sock.shutdown(socket.SHUT_WR)
            assert read_exactly(sock, 100) == b"got %d" % (len(EARLY) + len(PIECE))
    web.routes[PATH] = read_on
    with roads(proxy) as socks:
        for sock in socks:
            assert sock.recv(1) == b""
            sock.sendall(PIECE)
            sock.shutdown(socket.SHUT_WR)
            eventually(lambda: bool(heard), what="all of it")
            assert heard.pop() == EARLY + PIECE


def test_one_direction_does_not_wait_for_the_other(proxy: Entrepot, web: FaultServer) -> None:
    """Promise 4: a client may send all that it has before it reads, whatever comes meanwhile."""
    count = 16 * MIB

    def both(exchange: Exchange) -> None:
        sock, source = switched(exchange)
        sender = threading.Thread(target=lambda: sock.sendall(b"x" * count))
        sender.start()
        got.append(len(source.read(len(EARLY) + count)))
        sender.join()

    got: list[int] = []
    web.routes[PATH] = both
    with roads(proxy) as socks:
        for sock in socks:
            sock.sendall(b"y" * count)
            eventually(lambda: bool(got), what="all of it")
            assert got.pop() == len(EARLY) + count
            assert len(read_exactly(sock, count)) == count


def test_a_tunnel_that_is_half_closed_ends_when_idle(proxy: Entrepot, web: FaultServer) -> None:
    """Promise 8: a client that has ended its direction keeps nothing open for ever."""
    gate = threading.Event()

    def wait(exchange: Exchange) -> None:
        switched(exchange)
        gate.wait(60)

    web.routes[PATH] = wait
    line = 'client_dropped client=127.0.0.1 reason="nothing passed the tunnel"'
    try:
        with roads(proxy) as socks:
            for sock in socks:
                sock.shutdown(socket.SHUT_WR)
            eventually(lambda: proxy.log.count(line) == len(socks), what=line)
            eventually(lambda: sockets_to(proxy, web.port) == 0, what="all closed")
    finally:
        gate.set()


def sockets_to(proxy: Entrepot, port: int) -> int:
    """How many connections of a process lead to a port of this machine."""
    inodes = set[str]()
    for link in Path(f"/proc/{proxy.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(link.readlink().name)
    return sum(
        (one.peer_address, one.peer_port) == (LOOPBACK, port) and f"socket:[{one.inode}]" in inodes
        for one in tcp_sockets("tcp")
    )


def test_an_upgrade_in_the_middle_of_a_request(client: Client, faults: FaultServer) -> None:
    """RFC 9110 section 7.8: a server that switches too early is an error, not a crash."""

    def too_early(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + PIECE)
        exchange.hang_up()

    faults.routes["/v2/app/blobs/uploads/1"] = too_early
    with client.tunnel(FAULT) as tls:
        head = f"PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: {FAULT}\r\n{MADE_UP}"
        tls.sendall(f"{head}Content-Length: 10\r\n\r\nhalf".encode())
        answer = b""
        while more := tls.recv(1 << 16):
            answer += more
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"it switches protocols before it has the whole request" in answer


def test_an_upgrade_nobody_asked_for_is_no_tunnel_of_ours(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """A registry that answers a pull with 101 has not answered it."""
    path, _ = faults.add_blob("app", b"x")
    faults.routes[path] = lambda exchange: exchange.raw(b"HTTP/1.1 101 Hello\r\n\r\n")
    answer = client.get(f"https://{FAULT}{path}")
    assert (answer.status, b"protocol that nobody asked for" in answer.body) == (502, True)
    assert "Traceback" not in entrepot.log
