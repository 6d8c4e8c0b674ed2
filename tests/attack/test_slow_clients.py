"""Clients that stop: they cost little memory, hold up nobody, and are dropped in the end."""

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer, Gate
from rig.images import MIB, incompressible
from rig.multipart import parts_of
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "fault.example.test"
BIG = 32 * MIB
READERS = 500
LIMIT = 160 * MIB
"""Resident memory of the whole proxy; 500 connections that do nothing take 127 MiB of it."""


@contextmanager
def stalled_readers(
    client: Client, path: str, count: int, ranges: str | None = None
) -> Iterator[None]:
    """Clients that ask for something large, see that it comes, and read no more."""
    fields = f"Host: {FAULT}\r\n" + (f"Range: {ranges}\r\n" if ranges else "")
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            tls = stack.enter_context(client.tunnel(FAULT))
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            tls.sendall(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
            opened.append(tls)
        for tls in opened:
            assert tls.recv(12) == (b"HTTP/1.1 206" if ranges else b"HTTP/1.1 200")
        yield


def whole(client: Client, path: str) -> str:
    """Read a blob to its end; its sha256."""
    seen = hashlib.sha256()
    with client.open("GET", f"https://{FAULT}{path}") as stream:
        while data := stream.read(MIB):
            seen.update(data)
    return f"sha256:{seen.hexdigest()}"


@pytest.mark.unforked
def test_five_hundred_readers_of_a_hit_that_stall(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: they cost bounded memory, and another client has the blob meanwhile."""
    path, content = faults.add_blob("app", b"".join(incompressible("stalled", BIG)))
    whole(client, path)
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    with stalled_readers(client, path, READERS):
        assert whole(client, path) == content.digest
        assert entrepot.rss_peak() < LIMIT


@pytest.mark.unforked
def test_five_hundred_readers_of_a_miss_that_stall(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: the same while the blob still grows, and the fetch comes to its end."""
    path, content = faults.add_blob("app", b"".join(incompressible("stalled-cold", BIG)))
    content.gate = gate = Gate(MIB)
    with stalled_readers(client, path, READERS):
        gate.open()
        assert whole(client, path) == content.digest
        eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
        assert entrepot.rss_peak() < LIMIT


@pytest.mark.unforked
def test_readers_of_a_thousand_parts_that_stall(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 6: each holds numbers, no parts; another client has the whole and parts meanwhile."""
    path, content = faults.add_blob("app", b"".join(incompressible("stalled parts", BIG)))
    whole(client, path)
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    spans = [(at * 32_000, at * 32_000 + 20_000) for at in range(1000, 0, -1)]
    ranges = "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    with stalled_readers(client, path, READERS // 2, ranges):
        assert whole(client, path) == content.digest
        answer = client.get(f"https://{FAULT}{path}", {"Range": ranges})
        found = parts_of(answer.headers["Content-Type"], answer.body)
        assert found == [(start, content.body[start:stop]) for start, stop in spans]
        assert entrepot.rss_peak() < LIMIT


def _take(exchange: Exchange) -> None:
    exchange.read_body()


IDLE = "2s"
"""Long enough for a busy machine to send what is not meant to be late."""


def dropped(entrepot: Entrepot, reason: str, times: int = 1) -> None:
    line = f'client_dropped client=127.0.0.1 reason="{reason}"'
    eventually(lambda: entrepot.log.count(line) >= times, what=line)


def is_over(sock: socket.socket) -> bool:
    """Whether the proxy has ended the connection, once all that it sent is read."""
    try:
        while sock.recv(1 << 16):
            pass
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return True


def test_clients_that_say_nothing_are_dropped(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """No request, half a head, half a CONNECT, half a handshake, half a body: each ends."""
    entrepot = start_entrepot(idle=IDLE)
    client, proxy = entrepot.client(), ("127.0.0.1", entrepot.port)
    path, _ = faults.add_blob("app", b"kept alive")
    faults.routes["/v2/app/blobs/uploads/1"] = _take
    head = f"Host: {FAULT}\r\n"
    with ExitStack() as stack:
        silent, line, connect = (
            stack.enter_context(socket.create_connection(proxy, 30)) for _ in range(3)
        )
        line.sendall(b"GET /healthz HT")
        connect.sendall(f"CONNECT {FAULT}:443 HTTP/1.1\r\n".encode())
        hello = stack.enter_context(client.connect(FAULT))
        hello.sendall(b"\x16\x03\x01\x02\x00\x01")
        kept = stack.enter_context(client.tunnel(FAULT))
        kept.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        upload = stack.enter_context(client.tunnel(FAULT))
        put = f"PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\n{head}Content-Length: 9\r\n\r\nhalf"
        upload.sendall(put.encode())
        for sock in (silent, line, connect, hello, kept, upload):
            assert is_over(sock)
    dropped(entrepot, "no whole request came", 4)
    dropped(entrepot, "no further request came")
    dropped(entrepot, "the request's body does not go on")
    assert b"client_dropped" in entrepot.local("/healthz").body


def _ended_after_a_byte(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"x")
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_head_of_single_bytes_is_dropped(start_entrepot: "StartEntrepot") -> None:
    """A client that sends a byte now and then gets no more time than a silent one."""
    entrepot = start_entrepot(idle=IDLE)
    with socket.create_connection(("127.0.0.1", entrepot.port), 30) as sock:
        sock.settimeout(0.1)
        while not _ended_after_a_byte(sock):
            pass
    dropped(entrepot, "no whole request came")


def test_a_reader_that_takes_nothing_is_dropped(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 6: an answer that nobody takes is let go, and its file is closed."""
    entrepot = start_entrepot(idle=IDLE)
    client = entrepot.client()
    path, content = faults.add_blob("app", b"".join(incompressible("untaken", BIG)))
    assert whole(client, path) == content.digest
    with stalled_readers(client, path, 3):
        dropped(entrepot, "it takes nothing", 3)
        assert whole(client, path) == content.digest


def test_a_reader_that_upstream_keeps_waiting_is_not_dropped(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 3: while the bytes are ours to send, nobody is idle, however long it takes."""
    entrepot = start_entrepot(idle=IDLE)
    client = entrepot.client()
    path, content = faults.add_blob("app", b"".join(incompressible("awaited", 4 * MIB)))
    content.gate = gate = Gate(MIB)
    with client.open("GET", f"https://{FAULT}{path}") as stream:
        assert len(stream.read(MIB)) == MIB
        with socket.create_connection(("127.0.0.1", entrepot.port), 30) as silent:
            assert is_over(silent)  # so that much time has passed
        dropped(entrepot, "no whole request came")
        gate.open()
        assert len(stream.read()) == 3 * MIB
