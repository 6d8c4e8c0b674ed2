"""Connections to registries, and the pools that keep them: urllib3's, with what it lacks.

A connection is made within one deadline (``dial``), carries TLS by ``tls_socket``, reads heads by
``response_head``, and is kept open where that is safe: one on which upstream sent more than it
announced is not used again, and one that the server ended while it was idle is told from one that
never worked.
"""

import contextlib
import queue
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
)
from urllib3.util.ssltransport import SSLTransport

from entrepot.http_client import cancellable_call
from entrepot.http_client.connect.dial import AddressGuard, NameTimeoutError, connect
from entrepot.http_client.connect.tls_socket import TLSContext, pending
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import TunnelRefusedError
from entrepot.http_client.response_head import Response

CONNECT_SECONDS = 3.0
_POOLS = 64
_CONNECTIONS_A_HOST = 32
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # An idle connection is kept known to the firewalls on its way, and a dead one is found out
    # within a minute: else the next request would wait for an answer that cannot come.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    # A request that nobody acknowledges fails after this many ms, not after the kernel's 15 min.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000),
)
_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
"""What ``http.client`` says of an answer to CONNECT."""

_ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


def client_tls_context(roots: Roots) -> ssl.SSLContext:
    """The TLS of connections to upstream, which trusts these roots."""
    context = TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    roots.equip(context)
    return context


def pool_manager(
    make: Callable[..., urllib3.PoolManager],
    context: ssl.SSLContext,
    refusal: AddressGuard | None = None,
) -> urllib3.PoolManager:
    """Pools of ``make``, whose connections are ours and lead to no address that is refused."""
    pools = make(
        num_pools=_POOLS,
        maxsize=_CONNECTIONS_A_HOST,
        retries=False,
        ssl_context=context,
        socket_options=_SOCKET_OPTIONS,
    )
    pools.pool_classes_by_scheme = {
        "http": partial(_Pool, refusal=refusal),  # type: ignore[dict-item] # they are only called
        "https": partial(TLSPool, refusal=refusal),  # type: ignore[dict-item]
    }
    return pools


def end_idle(pool: urllib3.HTTPConnectionPool) -> None:
    """End the idle connections to a host: a server that closed one closes them all."""
    idle = pool.pool
    with contextlib.suppress(queue.Empty):
        while idle is not None:
            connection = idle.get(block=False)
            if connection is not None:  # a place for one
                connection.close()


class StaleError(ProtocolError):
    """A connection that had served before was ended by the server just as it was used again."""


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that is used again only where upstream sent no more than it announced."""

    _served = False
    response_class = Response
    peer: str | None = None
    """The address that was connected to."""

    def __init__(self, *args: Any, refusal: AddressGuard | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._refusal = refusal

    @property
    def is_connected(self) -> bool:
        """Whether nothing waits to be read, in the socket or decrypted already."""
        surplus = pending(self.sock) if isinstance(self.sock, SSLTransport) else 0
        return super().is_connected and not surplus

    def connect(self) -> None:
        self._served = False
        super().connect()

    def _new_conn(self) -> socket.socket:
        """As urllib3's own, but the deadline is one for the name and all of its addresses."""
        seconds = self.timeout if isinstance(self.timeout, int | float) else CONNECT_SECONDS
        options = self.socket_options or ()
        try:
            sock = connect(self._dns_host, self.port or 0, seconds, options, self._refusal)
            self.peer = str(sock.getpeername()[0])
        except NameTimeoutError as error:
            late = socket.gaierror(socket.EAI_AGAIN, str(error))
            raise NameResolutionError(self.host, self, late) from error
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        try:
            cancellable_call.uses(sock)
        except cancellable_call.AbortedError:
            sock.close()
            raise
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # kept from another call, with what was left of its timeout
            self.sock.settimeout(self.timeout)
            cancellable_call.uses(self.sock)
        with self._stale_where_it_served():
            super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as urllib3's own
        with self._stale_where_it_served():
            response = super().getresponse()
        self._served = True
        return response

    @contextlib.contextmanager
    def _stale_where_it_served(self) -> Iterator[None]:
        """Tell a connection that was idle too long from one that never worked."""
        try:
            yield
        except _ENDED as error:
            if self._served:
                raise StaleError("ended while it was idle", error) from error
            raise


class _TLSConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same with TLS, perhaps in a tunnel through the upstream proxy."""

    def _tunnel(self) -> None:
        """Tell what becomes of CONNECT from what becomes of the connection inside of it."""
        try:
            super()._tunnel()
        except (OSError, HTTPException) as error:
            refused = _REFUSED_TUNNEL.match(str(error))
            cause = TunnelRefusedError(int(refused[1])) if refused else error
            raise ProxyError("no tunnel", cause) from error


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection

    def _put_conn(self, conn: Any) -> None:
        """As urllib3's own, but what ends this thread's call must not end the next one's."""
        cancellable_call.uses(None)
        super()._put_conn(conn)


class TLSPool(_Pool, urllib3.HTTPSConnectionPool):
    """Connections with TLS to one host."""

    ConnectionCls = _TLSConnection

    def connected(self, seconds: float) -> _TLSConnection:
        """A new connection, with its tunnel and its TLS, that no other call gets.

        Raises what urllib3 and ``ssl`` do.
        """
        connection = self._new_conn()
        assert isinstance(connection, _TLSConnection)  # noqa: S101 for the type
        connection.timeout = seconds
        try:
            if self.proxy is not None:
                self._prepare_proxy(connection)  # which connects too
            else:
                connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def keep(self, connection: _TLSConnection) -> None:
        """Let other calls have a connection on which all was answered, unless there is one."""
        if self.pool is None or not connection.is_connected:
            connection.close()
            return
        with contextlib.suppress(queue.Empty):
            idle = self.pool.get(block=False)  # a place, or what lies in it
            self._put_conn(connection if idle is None else idle)
            if idle is None:
                return
        connection.close()
