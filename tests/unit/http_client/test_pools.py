"""Connections that are kept open, and when one is used again."""

import socket

import pytest

from entrepot.config.addresses import UpstreamProxy
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.request import Follow, SendOptions
from rig.certs import Authority
from rig.corporate import CorporateProxy
from rig.faults import Content, Exchange, FaultServer, status
from rig.requests import (
    NAME,
    Connections,
    cut_before_the_head,
    failure,
    get,
    target,
)


@pytest.mark.parametrize(
    ("size", "read", "connections"),
    [
        (0, 0, 1),
        (10, 0, 1),
        (10, 10, 1),
        (10, 5, 1),
        (1_000_000, 1_000_000, 1),
        (1_000_000, 1_000_000 - 10_000, 1),
        (10_000_000, 0, 2),
        (10_000_000, 100_000, 2),
    ],
)
def test_a_connection_is_used_again_where_little_is_left_of_a_body(
    upstream: HttpClient, plain: FaultServer, size: int, read: int, connections: int
) -> None:
    """Reading a few bytes is cheaper than a new connection; reading many is not."""
    handler = Connections(bytes(size))
    plain.routes = {"/a": handler}
    for _ in range(2):
        reply = upstream.send("GET", target("/a"), (), SendOptions(Follow.NO))
        assert len(reply.read_all(read)) == read
        reply.drain()
    assert len(set(handler.ports)) == connections


def test_a_head_leaves_its_connection_for_the_next(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """The length that HEAD announces is not waited for."""
    handler = Connections(bytes(10_000_000))
    plain.routes = {"/a": handler}
    for _ in range(2):
        with upstream.send("HEAD", target("/a"), (), SendOptions(Follow.NO)) as reply:
            assert reply.length == 10_000_000
    assert len(set(handler.ports)) == 1


def test_a_redirect_leaves_its_connection_for_the_next(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """What a redirect says beside its Location is read and dropped."""
    handler = Connections(b"")
    plain.routes = {"/a": status(307, b"moved", {"Location": "/b"}), "/b": handler}
    get(upstream, "/b")
    get(upstream, "/a")
    assert len(set(handler.ports)) == 1


def test_a_connection_that_the_server_closed_is_not_used_again(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """An idle connection that ended meanwhile costs nothing but a new one."""

    def once(exchange: Exchange) -> None:
        exchange.send(200, b"x", {"Connection": "close"})

    plain.routes = {"/a": once}
    assert [get(upstream, "/a") for _ in range(2)] == [(200, b"x")] * 2


class Impatient:
    """Ends a connection at its second request, before any answer, as an idle timer may just then.

    ``patience`` is how many requests a connection serves.
    """

    def __init__(self, *, reset: bool, patience: int = 1) -> None:
        self.reset = reset
        self.patience = patience
        self.served: dict[int, int] = {}
        self.cuts = 0

    def __call__(self, exchange: Exchange) -> None:
        content = exchange.read_body()
        port = exchange._handler.client_address[1]  # noqa: SLF001 the rig hides it
        self.served[port] = self.served.get(port, 0) + 1
        if self.served[port] > self.patience:
            self.cuts += 1
            exchange.cut(reset=self.reset)
        else:
            exchange.send(200, b"well" + content)


@pytest.mark.parametrize(
    ("method", "content", "body"),
    [("GET", None, b"well"), ("HEAD", None, b""), ("POST", b"a=b", b"wella=b")],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_ends_just_as_it_is_used_again_is_replaced(
    upstream: HttpClient,
    plain: FaultServer,
    secure: FaultServer,
    scheme: str,
    reset: bool,  # noqa: FBT001 a column of the table
    method: str,
    content: bytes | None,
    body: bytes,
) -> None:
    """The race with a server's idle timer costs a new connection, never an error."""
    server, handler = secure if scheme == "https" else plain, Impatient(reset=reset)
    server.routes = {"/a": handler}
    where = target("/a", scheme)
    for _ in range(2):
        with upstream.send(method, where, (), SendOptions(Follow.NO), content) as reply:
            assert (reply.status, reply.read_all(100)) == (200, body)
    assert (handler.cuts, len(server.requests), len(handler.served)) == (1, 3, 2)


def test_a_tunnel_that_ends_just_as_it_is_used_again_is_replaced(
    authority: Authority, secure: FaultServer
) -> None:
    """Through a corporate proxy the new connection is a new tunnel."""
    secure.routes = {"/a": Impatient(reset=False)}
    proxy = CorporateProxy(secure.resolve)
    upstream = HttpClient(Roots(authority.pem, None), proxy=UpstreamProxy.parse(proxy.url))
    try:
        for _ in range(2):
            with upstream.send("GET", target("/a", "https"), (), SendOptions(Follow.NO)) as reply:
                assert reply.read_all(100) == b"well"
    finally:
        upstream.close()
        proxy.stop()
    assert (proxy.targets, proxy.refused) == ([f"{NAME}:443"] * 2, [])
    assert len(secure.requests) == 3


def test_one_ended_connection_speaks_for_the_other_idle_ones(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """A server that restarted has ended them all: later requests do not try them in turn."""
    before, cut = Connections(b"well"), Connections(b"")

    def restarted(exchange: Exchange) -> None:
        port = exchange._handler.client_address[1]  # noqa: SLF001 the rig hides it
        if port in before.ports:
            cut.ports.append(port)
            exchange.cut()
        else:
            exchange.send(200, b"well")

    plain.routes = {"/a": before}
    replies = [upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) for _ in range(4)]
    for reply in replies:
        reply.drain()
    plain.routes = {"/a": restarted}
    replies = [upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) for _ in range(4)]
    assert [reply.read_all(100) for reply in replies] == [b"well"] * 4
    assert len(cut.ports) == 1


def test_a_request_is_sent_again_only_once(upstream: HttpClient, plain: FaultServer) -> None:
    """Where the new connection ends without an answer as well, that is the answer."""
    handler = Impatient(reset=False)
    plain.routes = {"/a": handler}
    get(upstream, "/a")
    handler.patience = 0
    assert failure(upstream, target("/a")) == f"http://{NAME}: the connection broke off"
    assert len(plain.requests) == 3


def test_a_new_connection_that_ends_is_not_tried_again(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """A server that never answers is told of at once."""
    plain.routes = {"/a": cut_before_the_head}
    assert failure(upstream, target("/a")) == f"http://{NAME}: the connection broke off"
    assert len(plain.requests) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_drained_body_leaves_its_connection_whatever_its_coding(
    upstream: HttpClient,
    plain: FaultServer,
    chunked: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A small body of unknown length is read to its end as one of known length is."""
    handler = Connections(b"")
    plain.routes = {"/a": Content(b"moved", chunked=chunked), "/b": handler}
    get(upstream, "/b")
    upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)).drain()
    get(upstream, "/b")
    assert len(set(handler.ports)) == 1


def test_an_idle_connection_is_kept_alive(upstream: HttpClient, plain: FaultServer) -> None:
    """A path that forgot the connection is found out by the kernel, not by the next request."""
    plain.routes = {"/a": status(200)}
    reply = upstream.send("GET", target("/a"), (), SendOptions(Follow.NO))
    sock: socket.socket = reply._response.connection.sock  # type: ignore[union-attr] # noqa: SLF001
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    reply.close()
