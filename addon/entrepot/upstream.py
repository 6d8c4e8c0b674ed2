"""The one HTTP client towards registries, their content networks and their token servers.

urllib3 does the connections: pooled, kept alive, verified. Redirects are followed here, because
their rules are the registry protocol's: any status of 301, 302, 303, 307, 308; relative
targets; at most five; nothing that identifies the client leaves for another host (S3, ACR and
GCS answer 400 to a forwarded ``Authorization``). A step down from https to plain http is
followed only for content that is named by its digest, since only there a forged answer shows.

No log line or error says more of a URL than scheme, host and port: the rest may be signed.
"""

import contextlib
import queue
import re
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http.client import HTTPException
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
)
from urllib3.util.ssltransport import SSLTransport

from entrepot.bypass import Bypass, is_direct
from entrepot.config import Resolve, UpstreamProxy
from entrepot.connecting import NameTimeoutError, connect
from entrepot.gunzip import Gunzip, is_encoded
from entrepot.head import Response
from entrepot.headers import ContentRange
from entrepot.message import Fields, field_values
from entrepot.reasons import (
    TunnelRefusedError,
    is_connected,
    is_passing,
    is_slow,
    reason_of,
)
from entrepot.reference import Origin
from entrepot.tlssocket import WideContext, WideSocket, pending
from entrepot.trust import Roots

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECT_SECONDS = 3.0
READ_SECONDS = 60.0
_KEEP_CROSS_HOST = frozenset({"accept", "user-agent", "range", "accept-encoding"})
_POOLS = 64
_CONNECTIONS_A_HOST = 32
_CHUNK = 64 * 1024
_SMALL = 16 * 1024
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
_ENOUGH = 512
"""Bytes that tell how a body is encoded."""


class Follow(Enum):
    """Which redirects to follow."""

    NO = auto()
    ANY = auto()


class UpstreamError(Exception):
    """Upstream could not be asked, or broke off; the text names a host and a reason.

    ``passing``: whether it may be well when asked again in a moment. ``silent``: the host that
    gave no answer at all, with ``connected`` and ``slow`` as for ``Breakers.failed``.
    """

    def __init__(
        self,
        text: str,
        *,
        passing: bool = False,
        silent: Origin | None = None,
        connected: bool = True,
        slow: bool = False,
    ) -> None:
        super().__init__(text)
        self.passing = passing
        self.silent = silent
        self.connected = connected
        self.slow = slow


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: an origin and a raw path with query."""

    origin: Origin
    path: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Split an absolute URL; ValueError where it is no http(s) one with a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("want an absolute http or https URL")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path or "/"
        return cls(
            Origin.make(parts.scheme, parts.hostname, port),
            f"{path}?{parts.query}" if parts.query else path,
        )

    def join(self, location: str) -> Self:
        """The target that a ``Location`` value names, relative ones included."""
        return self.parse(urljoin(f"{self.origin}{self.path}", location))


class Reply:
    """Upstream's answer: status and fields at once, the body as it is read."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, target: Target, asked: Fields = ()
    ) -> None:
        self._response = response
        self.target = target
        """Where it came from, after redirects."""
        self.asked = asked
        """The header fields that were sent there."""
        self.status = response.status
        self.headers: Fields = tuple(response.headers.items())
        self._broken: UpstreamError | None = None
        self._gunzip: Gunzip | None = None
        self._peeked = b""

    def undo_encoding(self) -> None:
        """Decode the body as it is read, where it was compressed though nobody asked for it.

        Raises :class:`UpstreamError` where the body cannot be begun.
        """
        coding = (self._response.headers.get("Content-Encoding") or "").strip().lower()
        if coding not in ("gzip", "x-gzip"):
            return
        first = b""
        try:
            while len(first) < _ENOUGH and (more := self._read_sent(_CHUNK)):
                first += more
        except UpstreamError:
            self.close()
            raise
        if not first:  # HEAD: its fields are what they are
            return
        if is_encoded(first):
            self._gunzip = Gunzip()
            self._gunzip.feed(first)
        else:
            self._peeked = first
        gone = {"content-encoding"} | ({"content-length"} if self._gunzip else set())
        self.headers = tuple(pair for pair in self.headers if pair[0].lower() not in gone)

    def value(self, name: str) -> str | None:
        """The header field ``name`` as one value."""
        found = field_values(self.headers, name)
        return ", ".join(found) if found else None

    @property
    def length(self) -> int | None:
        """``Content-Length``, or None where it is absent, no number or of no account."""
        text = None if self._is_chunked else self.value("Content-Length")
        known = text is not None and len(text) < 20 and text.isascii() and text.isdigit()
        return int(text) if text is not None and known else None

    @property
    def content_range(self) -> ContentRange | None:
        """Which part of the whole a 206 carries; None where it is none, or does not say."""
        if self.status != 206:
            return None
        try:
            return ContentRange.parse(self.value("Content-Range") or "")
        except ValueError:
            return None

    @property
    def is_delimited(self) -> bool:
        """Whether a body that was cut can be told from a whole one."""
        return self.length is not None or self._is_chunked or self._gunzip is not None

    @property
    def _is_chunked(self) -> bool:
        return "chunked" in (self.value("Transfer-Encoding") or "").lower()

    def read(self, most: int) -> bytes:
        """What has come of the body: from 1 to ``most`` bytes, none at its end.

        It waits for the first byte only: a reader down the line must not wait for a chunk to be
        full. Raises :class:`UpstreamError` where the connection breaks or stalls, or the body is
        shorter than was announced.
        """
        if self._gunzip is None:
            return self._read_sent(most)
        try:
            while not (data := self._gunzip.take(most)):
                sent = self._read_sent(_CHUNK)
                if not sent and not self._gunzip.is_complete:
                    raise UpstreamError(f"{self.target.origin}: its gzip body is cut")
                if not sent:
                    return b""
                self._gunzip.feed(sent)
        except zlib.error:
            raise UpstreamError(f"{self.target.origin}: its gzip body is damaged") from None
        return data

    def _read_sent(self, most: int) -> bytes:
        """The same, as it was sent."""
        if self._peeked:
            data, self._peeked = self._peeked[:most], self._peeked[most:]
            return data
        if self._broken is not None:
            raise self._broken
        try:
            return self._response.read1(most, decode_content=False)
        except (HTTPError, HTTPException, OSError) as error:
            self._broken = _failure(self.target, error)
            raise self._broken from None

    def is_ready(self) -> bool:
        """Whether bytes have come that nobody has read; True where nobody can know."""
        sock = getattr(self._response.connection, "sock", None)
        if not isinstance(sock, socket.socket | WideSocket):  # TLS inside of TLS
            return True
        if isinstance(sock, WideSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    def read_all(self, most: int) -> bytes:
        """The whole body, or its first ``most`` bytes."""
        parts: list[bytes] = []
        while most > 0 and (part := self.read(min(most, _CHUNK))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back where nothing is left to read, else end it; never waits."""
        if self._left == 0:
            self._response.drain_conn()
        elif not self._response.closed:
            self._response.close()
        self._response.release_conn()

    def drain(self) -> None:
        """Read a small rest, so that the connection serves the next request; then close."""
        if self.is_delimited and (self._left or 0) <= _SMALL:
            with contextlib.suppress(UpstreamError):
                self.read_all(_SMALL)
        self.close()

    @property
    def _left(self) -> int | None:
        left: int | None = getattr(self._response, "length_remaining", None)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _StaleError(ProtocolError):
    """A connection that had served before was ended by the server just as it was used again."""


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that is used again only where upstream sent no more than it announced."""

    _served = False
    response_class = Response

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
        try:
            return connect(self._dns_host, self.port or 0, seconds, self.socket_options or ())
        except NameTimeoutError as error:
            late = socket.gaierror(socket.EAI_AGAIN, str(error))
            raise NameResolutionError(self.host, self, late) from error
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def request(self, *args: Any, **kwargs: Any) -> None:
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
                raise _StaleError("ended while it was idle", error) from error
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


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class Upstream:
    """Sends requests to registries; safe to use from many threads."""

    def __init__(
        self,
        roots: Roots,
        *,
        resolve: tuple[Resolve, ...] = (),
        proxy: UpstreamProxy | None = None,
        no_proxy: tuple[Bypass, ...] = (),
        via: str | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """``resolve`` counts for what is reached without ``proxy``, which is told ``via``."""
        self._resolve = {(r.host, r.port): (r.address, r.target_port) for r in resolve}
        self._connect_seconds = connect_seconds
        self._timeout = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._no_proxy = no_proxy
        self._lock = threading.Lock()
        self._pools = _equipped(urllib3.PoolManager, roots)
        self._proxied: urllib3.PoolManager | None = None
        if proxy is not None:
            fields = {"Proxy-Authorization": proxy.authorization, "Via": via}
            self._proxied = _equipped(
                partial(
                    urllib3.ProxyManager,
                    proxy.url,
                    proxy_headers={name: value for name, value in fields.items() if value},
                    proxy_ssl_context=roots.context(),
                ),
                roots,
            )

    def send(
        self,
        method: str,
        target: Target,
        headers: Fields,
        *,
        follow: Follow,
        content: bytes | None = None,
        downgrade: bool = False,
        seconds: float | None = None,
    ) -> Reply:
        """Send a request and return upstream's answer, whatever its status.

        ``follow`` says which redirects to follow; ``downgrade`` lets them lead from https to
        plain http. A redirect that may not be followed is returned as it came. ``content`` is
        the request's body; it goes to no redirect. ``seconds`` bounds the wait for an answer, with
        connections and redirects, where the usual deadlines are too long. Content that came
        compressed though nobody asked for it is decoded; what is no content, or is passed on
        (``Follow.NO``), stays as it came. Raises :class:`UpstreamError`.

        Where the server ends an idle connection just as it is used again, the request is sent
        once more on a new one: so it must be one that is safe to repeat (RFC 9110 section 9.2.2).
        """
        until = None if seconds is None else time.monotonic() + seconds
        reply = self._send(method, target, headers, self._timeout_until(until), content)
        for _ in range(MAX_REDIRECTS):
            following = self._next(reply, follow, downgrade=downgrade)
            if following is None:
                return _plain(reply, follow)
            reply.drain()
            if following.origin != target.origin:
                headers = tuple((k, v) for k, v in headers if k.lower() in _KEEP_CROSS_HOST)
            target = following
            reply = self._send(method, target, headers, self._timeout_until(until))
        if self._next(reply, follow, downgrade=downgrade) is not None:
            reply.close()
            raise UpstreamError(f"{target.origin}: more than {MAX_REDIRECTS} redirects")
        return _plain(reply, follow)

    def _timeout_until(self, until: float | None) -> urllib3.Timeout:
        if until is None:
            return self._timeout
        left = max(until - time.monotonic(), 0.01)  # urllib3 takes no 0
        return urllib3.Timeout(total=left, connect=min(left, self._connect_seconds))

    def _next(self, reply: Reply, follow: Follow, *, downgrade: bool) -> Target | None:
        """Where to go on to; None where ``reply`` is what the caller gets."""
        location = reply.value("Location")
        if follow is Follow.NO or reply.status not in REDIRECTS or location is None:
            return None
        try:
            following = reply.target.join(location)
        except ValueError:
            return None
        stepping_down = reply.target.origin.scheme == "https" != following.origin.scheme
        return None if stepping_down and not downgrade else following

    def _send(
        self,
        method: str,
        target: Target,
        headers: Fields,
        timeout: urllib3.Timeout,
        content: bytes | None = None,
    ) -> Reply:
        fields = urllib3.HTTPHeaderDict()
        for name, value in (*headers, ("Host", target.origin.authority)):
            fields.add(name, value)
        pool = self._pool(target.origin)
        in_plain = target.origin.scheme == "http" and self._way(target.origin) is not None
        ask = partial(
            pool.urlopen,
            method,
            # Absolute-form only for plain http through a proxy (RFC 9112 section 3.2.2).
            f"{target.origin}{target.path}" if in_plain else target.path,
            body=content,
            headers=fields,
            redirect=False,
            retries=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            timeout=timeout,
        )
        try:
            try:
                response = ask()
            except _StaleError:
                _end_idle(pool)
                response = ask()
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise _failure(target, error) from None
        if in_plain and response.status == 407:  # a client would take it for our own
            response.close()
            raise _failure(target, ProxyError("no passage", TunnelRefusedError(407)))
        return Reply(response, target, headers)

    def _way(self, origin: Origin) -> urllib3.PoolManager | None:
        """The way through the upstream proxy; None where a host is reached directly."""
        direct = self._proxied is None or is_direct(self._no_proxy, origin.host, origin.port)
        return None if direct else self._proxied

    def _pool(self, origin: Origin) -> urllib3.HTTPConnectionPool:
        address, port = origin.host, origin.port
        proxied = self._way(origin)
        if proxied is None:
            address, port = self._resolve.get((address, port), (address, port))
        options = {}
        if origin.scheme == "https" and address != origin.host:
            options = {"server_hostname": origin.host, "assert_hostname": origin.host}
        with self._lock:
            pools = proxied or self._pools
            return pools.connection_from_host(address, port, origin.scheme, options)

    def close(self) -> None:
        """End every idle connection."""
        self._pools.clear()
        if self._proxied is not None:
            self._proxied.clear()


def _equipped(make: Callable[..., urllib3.PoolManager], roots: Roots) -> urllib3.PoolManager:
    """Pools whose connections are ours, and trust these roots."""
    context = WideContext(ssl.PROTOCOL_TLS_CLIENT)
    roots.equip(context)
    pools = make(
        num_pools=_POOLS,
        maxsize=_CONNECTIONS_A_HOST,
        retries=False,
        ssl_context=context,
        socket_options=_SOCKET_OPTIONS,
    )
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return pools


def _end_idle(pool: urllib3.HTTPConnectionPool) -> None:
    """End the idle connections to a host: a server that closed one closes them all."""
    idle = pool.pool
    with contextlib.suppress(queue.Empty):
        while idle is not None:
            connection = idle.get(block=False)
            if connection is not None:  # a place for one
                connection.close()


def _plain(reply: Reply, follow: Follow) -> Reply:
    if follow is not Follow.NO and reply.status in (200, 206):
        reply.undo_encoding()
    return reply


def _failure(target: Target, error: BaseException) -> UpstreamError:
    return UpstreamError(
        f"{target.origin}: {reason_of(error)}",
        passing=is_passing(error),
        silent=target.origin,
        connected=is_connected(error),
        slow=is_slow(error),
    )
