"""The one HTTP client towards registries, their content networks and their token servers.

``proxy_routing`` chooses the connections and ``pools`` makes them, ``response`` reads the answers,
``redirects`` says which are followed. How far a request may lead is the caller's to say
(``SendOptions.reach``); how far a redirect leads depends on who sent it (``ssrf_guard``).

No log line or error says more of a URL than scheme, host and port: the rest may be signed.
"""

import time
from functools import partial
from http.client import HTTPException

import urllib3
from urllib3.exceptions import HTTPError, ProxyError

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.http_client import cancellable_call
from entrepot.http_client.connect.ssrf_guard import DestinationError, Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import TunnelRefusedError, UpstreamError, failure
from entrepot.http_client.pools import CONNECT_SECONDS, StaleError, end_idle
from entrepot.http_client.proxy_routing import ProxyRouting
from entrepot.http_client.redirects import MAX_REDIRECTS, redirect_target, redirected_fields
from entrepot.http_client.request import USER_AGENT, Follow, Observer, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.http_client.tls_inspection import Greeter, Greeting
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from entrepot.protocol.network_reach import Reach

READ_SECONDS = 60.0
_WHOLE = 2.0
"""How often READ_SECONDS a request may take until its answer begins, with all of its redirects."""


class HttpClient:
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
        self.observer: Observer | None = None
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._routing = ProxyRouting(
            roots, self.destinations, resolve=resolve, proxy=proxy, no_proxy=no_proxy, via=via
        )
        self._greeter = Greeter(roots, self._routing, self.destinations, connect_seconds)

    def send(
        self,
        method: str,
        target: Target,
        headers: Fields,
        options: SendOptions,
        content: bytes | None = None,
    ) -> Reply:
        """Send a request and return upstream's answer, whatever its status.

        ``content`` is the request's body; it goes to no redirect. Content that came compressed
        though nobody asked for it is decoded; what is no content, or is passed on (``Follow.NO``),
        stays as it came. Raises :class:`UpstreamError`, and ``DestinationError`` where the target
        lies beyond ``options.reach``.

        Where the server ends an idle connection just as it is used again, the request is sent
        once more on a new one: so it must be one that is safe to repeat (RFC 9110 section 9.2.2).
        """
        seconds = _WHOLE * self._read_seconds if options.seconds is None else options.seconds
        until = time.monotonic() + seconds
        reach = options.reach or self.destinations.named_by_somebody(target.origin)
        registry, allowed = target.origin, reach
        observer = self.observer if options.observed else None
        reply = self._observed(observer, method, target, headers, reach, until, content)
        for _ in range(MAX_REDIRECTS):
            following = redirect_target(reply, options)
            if following is None:
                return _decoded(reply, options)
            reply.drain()
            headers = redirected_fields(headers, target.origin, following.origin)
            reach = self.destinations.named_by_server(
                following.origin, registry, allowed, target.origin, reply.peer
            )
            target = following
            try:
                reply = self._observed(observer, method, target, headers, reach, until)
            except DestinationError as error:
                reason = f"its redirect to {target.origin} is not followed: {error}"
                if observer is not None:
                    observer.failed(registry, reason)
                raise UpstreamError(f"{registry}: {reason}") from None
        if redirect_target(reply, options) is not None:
            reply.close()
            raise UpstreamError(f"{target.origin}: more than {MAX_REDIRECTS} redirects")
        return _decoded(reply, options)

    def greet(
        self, origin: Origin, seconds: float, *, ask: bool, reach: Reach | None = None
    ) -> Greeting:
        """Meet a TLS server, whose certificate must be good, on a new connection.

        With ``ask`` there is a HEAD of its root too, and the connection is kept for what comes
        next: not where blobs might come, since it costs more for each record (``mutual_tls``).
        ``seconds`` are for the connection, and for the answer; ``reach`` is as in
        :class:`SendOptions`. Raises ``DestinationError``.
        """
        reach = reach or self.destinations.named_by_somebody(origin)
        return self._greeter.greet(origin, seconds, reach, ask=ask)

    def close(self) -> None:
        """End every idle connection."""
        self._routing.close()

    def _observed(
        self,
        observer: Observer | None,
        method: str,
        target: Target,
        headers: Fields,
        reach: Reach,
        until: float,
        content: bytes | None = None,
    ) -> Reply:
        """As :meth:`_exchange`, and tell what came of it; not where nobody waits for it now."""
        began, origin = time.monotonic(), target.origin
        try:
            reply = self._exchange(method, target, headers, reach, until, content)
        except UpstreamError as error:
            if observer is not None and not cancellable_call.is_aborted():
                observer.failed(origin, str(error).removeprefix(f"{origin}: "))
            raise
        if observer is not None:
            observer.answered(origin, reply.status, time.monotonic() - began)
            reply.on_break = partial(observer.failed, origin)
        return reply

    def _exchange(
        self,
        method: str,
        target: Target,
        headers: Fields,
        reach: Reach,
        until: float,
        content: bytes | None = None,
    ) -> Reply:
        """Send one request, by ``until`` at the latest (of the monotonic clock): its answer."""
        fields = urllib3.HTTPHeaderDict()
        for name, value in (*headers, ("Host", target.origin.authority)):
            fields.add(name, value)
        fields.setdefault("User-Agent", USER_AGENT)
        pool, is_proxied = self._routing.choose(target.origin, reach)
        in_plain = target.origin.scheme == "http" and is_proxied
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
            timeout=self._timeout(until),
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
        peer = None if is_proxied else getattr(response.connection, "peer", None)
        if peer is not None:
            self.destinations.connected(target.origin.host, target.origin.port, peer)
        return Reply(response, target, headers, peer, reach)

    def _timeout(self, until: float) -> urllib3.Timeout:
        left = max(until - time.monotonic(), 0.01)  # urllib3 takes no 0
        return urllib3.Timeout(
            total=left,
            connect=min(left, self._connect_seconds),
            read=min(left, self._read_seconds),
        )


def _decoded(reply: Reply, options: SendOptions) -> Reply:
    if options.follow is not Follow.NO and reply.status in (200, 206):
        reply.undo_encoding()
    return reply
