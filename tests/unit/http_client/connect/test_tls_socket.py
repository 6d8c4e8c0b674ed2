"""The client's TLS socket, against Python's own server side."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from entrepot.http_client.connect.tls_socket import TLSContext, TLSSocket
from entrepot.http_client.connect.trust_store import Roots
from rig.certs import Authority

NAME = "registry.example.test"
RECORD = 16 * 1024
"""The most that one TLS record carries (RFC 8446 section 5.1)."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def connected(authority: Authority, serve: Callable[[ssl.SSLSocket], None]) -> Iterator[TLSSocket]:
    """A wide socket to a server that does ``serve``; it has done so when the block begins."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def run() -> None:
        server = authority.issue(NAME).server_context()
        with server.wrap_socket(theirs, server_side=True) as secured:
            serve(secured)

    thread = threading.Thread(target=run)
    thread.start()
    context = TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    Roots(bundle=authority.pem, folder=None).equip(context)
    with context.wrap_socket(ours, server_hostname=NAME) as wide:
        thread.join()
        yield wide


def test_one_read_gives_many_records(authority: Authority) -> None:
    """What has come is given at once, not a record at a time."""
    data = bytes(range(256)) * 400
    with connected(authority, lambda server: server.sendall(data)) as wide:
        buffer = bytearray(len(data))
        assert wide.recv_into(buffer) == len(data) > 4 * RECORD
        assert buffer == data


def test_no_more_than_is_asked_for(authority: Authority) -> None:
    """The rest waits for the next read."""
    with connected(authority, lambda server: server.sendall(b"abcdef")) as wide:
        assert wide.recv(4) == b"abcd"
        assert wide.pending() > 0
        assert wide.recv(100) == b"ef"


def test_an_end_is_an_end(authority: Authority) -> None:
    """With a goodbye, nothing is the next that is read; also when asked again."""
    with connected(authority, lambda server: _say_goodbye(server, b"abc")) as wide:
        assert wide.recv(100) == b"abc"
        assert wide.recv(100) == b""
        assert wide.recv(100) == b""


def _say_goodbye(server: ssl.SSLSocket, data: bytes) -> None:
    server.sendall(data)
    server.settimeout(0)  # the client's own goodbye is not waited for
    with suppress(ssl.SSLWantReadError, OSError):
        server.unwrap()


def test_a_close_without_a_goodbye_is_an_end(authority: Authority) -> None:
    """Many servers just close; HTTP's framing tells whether something is missing."""
    with connected(authority, lambda server: server.sendall(b"abc")) as wide:
        assert wide.recv(100) == b"abc"
        assert wide.recv(100) == b""


def test_garbage_after_good_bytes_is_told_next_time(authority: Authority) -> None:
    """What came whole is given first; then the error is raised, and again."""

    def serve(server: ssl.SSLSocket) -> None:
        server.sendall(b"abc")
        with socket.socket(fileno=server.detach()) as plain:
            plain.sendall(b"this is no TLS record at all")

    with connected(authority, serve) as wide:
        assert wide.recv(100) == b"abc"
        for _ in range(2):
            with pytest.raises(ssl.SSLError):
                wide.recv(100)


def test_a_silent_server_times_out(authority: Authority) -> None:
    """The socket's own timeout counts."""
    held: list[socket.socket] = []

    def serve(server: ssl.SSLSocket) -> None:
        held.append(socket.socket(fileno=server.detach()))

    with connected(authority, serve) as wide:
        wide.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wide.recv(1)
    held[0].close()


def test_names_are_verified(authority: Authority, tmp_path: Path) -> None:
    """Another authority's certificate ends the handshake, as with any context."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        server = Authority(tmp_path / "other").issue(NAME).server_context()
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    context = TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    Roots(bundle=authority.pem, folder=None).equip(context)
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(ours, server_hostname=NAME)
    ours.close()
    thread.join()


HANDSHAKE, DATA = b"\x16", b"\x17"
"""Types of records (RFC 8446 section 5.1)."""


@contextmanager
def dripping(kind: bytes) -> Iterator[socket.socket]:
    """A connection on which bytes come often enough for any single wait, and never a record."""
    ours, theirs = socket.socketpair()
    enough = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            theirs.sendall(kind + b"\x03\x03\x40\x00")
            while not enough.wait(0.02):
                theirs.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    ours.settimeout(0.3)
    with ours, theirs:
        try:
            yield ours
        finally:
            enough.set()
            thread.join()


def test_a_handshake_must_come_within_one_wait() -> None:
    """However it drips."""
    context = TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    with dripping(HANDSHAKE) as slow, pytest.raises(TimeoutError):
        context.wrap_socket(slow, server_hostname=NAME)


def test_a_record_must_come_within_one_wait(authority: Authority) -> None:
    """However it drips; afterwards each wait may take as long as before."""
    with connected(authority, lambda _: None) as wide, dripping(DATA) as slow:
        own, wide.socket = wide.socket, slow
        with pytest.raises(TimeoutError):
            wide.recv(1)
        assert slow.gettimeout() == 0.3
        wide.socket = own
