"""The one HTTP client towards registries, their content networks and their token servers.

``pools`` does the connections, ``reply`` reads the answers. Redirects are followed here, because
their rules are the registry protocol's: any status of 301, 302, 303, 307, 308; relative
targets; at most five; nothing that identifies the client leaves for another host (S3, ACR and
GCS answer 400 to a forwarded ``Authorization``). A step down from https to plain http is
followed only for content that is named by its digest, since only there a forged answer shows.

How far a request may lead is the caller's to say (``reach``), a redirect is the word of whoever
sent it (``destinations``). A connection that is kept open is used again only by those who would
have been led there: there are pools for each reach.

No log line or error says more of a URL than scheme, host and port: the rest may be signed.
"""

import ssl
import threading
import time
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.no_proxy import NoProxyEntry, is_direct
from entrepot.http_client.connect.mutual_tls import CertificateRequests
from entrepot.http_client.connect.ssrf_guard import DestinationError, Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import TunnelRefusedError, is_slow
from entrepot.http_client.pools import (
    CONNECT_SECONDS,
    StaleError,
    TLSPool,
    end_idle,
    equipped,
    trusting,
)
from entrepot.http_client.response import Reply, Target, UpstreamError, failure
from entrepot.protocol.header_filters import ACROSS_HOSTS, only
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from entrepot.protocol.network_reach import Reach

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_SECONDS = 60.0
_WHOLE = 2.0
"""How often READ_SECONDS a request may take until its answer begins, with all of its redirects."""


def _user_agent() -> str:
    try:
        return f"entrepot/{version('entrepot')}"
    except PackageNotFoundError:  # run from a checkout, by mitmdump
        return "entrepot"


USER_AGENT = _user_agent()
"""As what the proxy asks of its own, and whatever is to be told to more than one client."""


class Follow(Enum):
    """Which redirects to follow."""

    NO = auto()
    ANY = auto()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a TLS server does on a connection of HTTP/1.1 by somebody who has no certificate."""

    wants_certificate: bool = False
    """Whether it asks for one, required or not."""
    status: int | None = None
    """Of its answer; None where there was none, or nothing was asked."""
    problem: UpstreamError | None = None
    is_away: bool = False
    """Whether the problem is that nobody was met."""


class Upstream:
    """Sends requests to registries; safe to use from many threads."""

    def __init__(
        self,
        roots: Roots,
        *,
        resolve: tuple[Resolve, ...] = (),
        proxy: UpstreamProxy | None = None,
        no_proxy: tuple[NoProxyEntry, ...] = (),
        via: str | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        destinations: Destinations | None = None,
    ) -> None:
        """``resolve`` counts for what is reached without ``proxy``, which is told ``via``.

        Without ``destinations`` nothing is refused.
        """
        self.destinations = destinations or Destinations(time.monotonic)
        self._resolve = {(r.host, r.port): (r.address, r.target_port) for r in resolve}
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._no_proxy = no_proxy
        self._lock = threading.Lock()
        self._roots = roots
        self._greeter: tuple[ssl.SSLContext, CertificateRequests] | None = None
        context = trusting(roots)
        self._pools = {
            reach: equipped(urllib3.PoolManager, context, partial(self.destinations.refusal, reach))
            for reach in Reach
        }
        self._proxied: urllib3.PoolManager | None = None
        if proxy is not None:
            fields = {"Proxy-Authorization": proxy.authorization, "Via": via}
            self._proxied = equipped(
                partial(
                    urllib3.ProxyManager,
                    proxy.url,
                    proxy_headers={name: value for name, value in fields.items() if value},
                    proxy_ssl_context=roots.context(),
                ),
                context,
            )

    def send(
        self,
        method: str,
        target: Target,
        headers: Fields,
        *,
        follow: Follow,
        reach: Reach | None = None,
        content: bytes | None = None,
        downgrade: bool = False,
        seconds: float | None = None,
    ) -> Reply:
        """Send a request and return upstream's answer, whatever its status.

        ``reach`` says how far the target may lead, None that nobody vouches for it; where it may
        not, ``DestinationError`` is raised.
        ``follow`` says which redirects to follow; ``downgrade`` lets them lead from https to
        plain http. A redirect that may not be followed is returned as it came. ``content`` is
        the request's body; it goes to no redirect. ``seconds`` bounds the wait for an answer, with
        connections and redirects, where the usual deadline is too long. Content that came
        compressed though nobody asked for it is decoded; what is no content, or is passed on
        (``Follow.NO``), stays as it came. Raises :class:`UpstreamError`.

        Where the server ends an idle connection just as it is used again, the request is sent
        once more on a new one: so it must be one that is safe to repeat (RFC 9110 section 9.2.2).
        """
        until = time.monotonic() + (_WHOLE * self._read_seconds if seconds is None else seconds)
        reach = reach or self.destinations.named_by_somebody(target.origin)
        registry, allowed = target.origin, reach
        reply = self._send(method, target, headers, reach, self._timeout_until(until), content)
        for _ in range(MAX_REDIRECTS):
            following = self._next(reply, follow, downgrade=downgrade)
            if following is None:
                return _plain(reply, follow)
            reply.drain()
            if following.origin != target.origin:
                headers = only(headers, ACROSS_HOSTS)
            reach = self.destinations.named_by_server(
                following.origin, registry, allowed, target.origin, reply.peer
            )
            target = following
            try:
                reply = self._send(method, target, headers, reach, self._timeout_until(until))
            except DestinationError as error:
                text = f"{registry}: its redirect to {target.origin} is not followed: {error}"
                raise UpstreamError(text) from None
        if self._next(reply, follow, downgrade=downgrade) is not None:
            reply.close()
            raise UpstreamError(f"{target.origin}: more than {MAX_REDIRECTS} redirects")
        return _plain(reply, follow)

    def _timeout_until(self, until: float) -> urllib3.Timeout:
        left = max(until - time.monotonic(), 0.01)  # urllib3 takes no 0
        return urllib3.Timeout(
            total=left,
            connect=min(left, self._connect_seconds),
            read=min(left, self._read_seconds),
        )

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
        reach: Reach,
        timeout: urllib3.Timeout,
        content: bytes | None = None,
    ) -> Reply:
        fields = urllib3.HTTPHeaderDict()
        for name, value in (*headers, ("Host", target.origin.authority)):
            fields.add(name, value)
        fields.setdefault("User-Agent", USER_AGENT)
        way = self._way(target.origin)
        if way is not None:
            self._foresee(target.origin, reach)
        pool = self._pool(target.origin, way, reach)
        in_plain = target.origin.scheme == "http" and way is not None
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
            except StaleError:
                end_idle(pool)
                response = ask()
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise failure(target.origin, error) from None
        if in_plain and response.status == 407:  # a client would take it for our own
            response.close()
            raise failure(target.origin, ProxyError("no passage", TunnelRefusedError(407)))
        peer = None if way else getattr(response.connection, "peer", None)
        if peer is not None:
            self.destinations.connected(target.origin.host, target.origin.port, peer)
        return Reply(response, target, headers, peer, reach)

    def greet(
        self, origin: Origin, seconds: float, *, ask: bool, reach: Reach | None = None
    ) -> Greeting:
        """Meet a TLS server, whose certificate must be good, on a new connection.

        With ``ask`` there is a HEAD of its root too, and the connection is kept for what comes
        next: not where blobs might come, since it costs more for each record (``mutual_tls``).
        ``seconds`` are for the connection, and for the answer; ``reach`` is as in :meth:`send`.
        """
        reach = reach or self.destinations.named_by_somebody(origin)
        context, requests = self._met_with()
        with requests.watched() as wanted:
            try:
                status = self._greeted(origin, seconds, reach, context, ask=ask)
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                away = isinstance(error, NewConnectionError | ProxyError) or is_slow(error)
                tls = isinstance(error, ssl.SSLError | CertificateError)
                problem = failure(origin, SSLError(error) if tls else error)
                return Greeting(wanted(), problem=problem, is_away=away)
            return Greeting(wanted(), status)

    def _met_with(self) -> tuple[ssl.SSLContext, CertificateRequests]:
        """What TLS servers are met with; made for the first, as reading all roots takes a while."""
        with self._lock:
            if self._greeter is None:
                context = trusting(self._roots)
                context.set_alpn_protocols(["http/1.1"])
                self._greeter = context, CertificateRequests(context)
            return self._greeter

    def _greeted(
        self,
        origin: Origin,
        seconds: float,
        reach: Reach,
        met_with: ssl.SSLContext,
        *,
        ask: bool,
    ) -> int | None:
        way = self._way(origin)
        if way is not None:
            self._foresee(origin, reach)
        pool, kept = (
            self._pool(origin, way, reach, **context) for context in ({"ssl_context": met_with}, {})
        )
        assert isinstance(pool, TLSPool)  # noqa: S101 for the type
        assert isinstance(kept, TLSPool)  # noqa: S101
        connection = pool.connected(min(seconds, self._connect_seconds))
        try:
            if way is None and connection.peer is not None:
                self.destinations.connected(origin.host, origin.port, connection.peer)
            if not ask:
                connection.close()
                return None
            connection.timeout = seconds
            fields = {"Host": origin.authority, "User-Agent": USER_AGENT}
            connection.request("HEAD", "/", headers=fields)
            status = connection.getresponse().status
        except BaseException:
            connection.close()
            raise
        kept.keep(connection)
        return status

    def _way(self, origin: Origin) -> urllib3.PoolManager | None:
        """The way through the upstream proxy; None where a host is reached directly."""
        direct = self._proxied is None or is_direct(self._no_proxy, origin.host, origin.port)
        return None if direct else self._proxied

    def _foresee(self, origin: Origin, reach: Reach) -> None:
        """Refuse by name what is reached through the upstream proxy, which alone resolves it."""
        why = self.destinations.foreseen(reach, origin.host, origin.port, elsewhere=True)
        if why is not None:
            raise DestinationError(why)

    def _pool(
        self, origin: Origin, way: urllib3.PoolManager | None, reach: Reach, **more: object
    ) -> urllib3.HTTPConnectionPool:
        address, port = origin.host, origin.port
        if way is None:
            address, port = self._resolve.get((address, port), (address, port))
        options: dict[str, object] = dict(more)
        if origin.scheme == "https" and address != origin.host:
            options |= {"server_hostname": origin.host, "assert_hostname": origin.host}
        with self._lock:
            pools = way or self._pools[reach]
            return pools.connection_from_host(address, port, origin.scheme, options)

    def close(self) -> None:
        """End every idle connection."""
        for pools in self._pools.values():
            pools.clear()
        if self._proxied is not None:
            self._proxied.clear()


def _plain(reply: Reply, follow: Follow) -> Reply:
    if follow is not Follow.NO and reply.status in (200, 206):
        reply.undo_encoding()
    return reply
