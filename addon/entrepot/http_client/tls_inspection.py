"""What a TLS server shows of itself on a connection of HTTP/1.1 by one who has no certificate.

It tells whether interception would take something from the server's clients: their certificates,
which nobody else can show (``mutual_tls``), or HTTP/2 where the server speaks nothing else.
"""

import ssl
import threading
from dataclasses import dataclass
from http.client import HTTPException

from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from entrepot.http_client.connect.mutual_tls import CertificateRequests
from entrepot.http_client.connect.ssrf_guard import Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError, failure, is_slow
from entrepot.http_client.pools import TLSPool, client_tls_context
from entrepot.http_client.proxy_routing import ProxyRouting
from entrepot.http_client.request import USER_AGENT
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import Reach


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a TLS server met us."""

    wants_certificate: bool = False
    """Whether it asks its clients for one, required or not."""
    status: int | None = None
    """Of its answer; None where there was none, or nothing was asked."""
    problem: UpstreamError | None = None
    is_away: bool = False
    """Whether the problem is that nobody was met."""


class Greeter:
    """Meets TLS servers; safe to use from many threads."""

    def __init__(
        self,
        roots: Roots,
        routing: ProxyRouting,
        destinations: Destinations,
        connect_seconds: float,
    ) -> None:
        self._roots = roots
        self._routing = routing
        self._destinations = destinations
        self._connect_seconds = connect_seconds
        self._lock = threading.Lock()
        self._made: tuple[ssl.SSLContext, CertificateRequests] | None = None

    def greet(self, origin: Origin, seconds: float, reach: Reach, *, ask: bool) -> Greeting:
        """Meet a TLS server, whose certificate must be good, on a new connection.

        See :meth:`HttpClient.greet`.
        """
        context, requests = self._context()
        with requests.watched() as wanted:
            try:
                status = self._status(origin, seconds, reach, context, ask=ask)
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                away = isinstance(error, NewConnectionError | ProxyError) or is_slow(error)
                tls = isinstance(error, ssl.SSLError | CertificateError)
                problem = failure(origin, SSLError(error) if tls else error)
                return Greeting(wanted(), problem=problem, is_away=away)
            return Greeting(wanted(), status)

    def _context(self) -> tuple[ssl.SSLContext, CertificateRequests]:
        """What servers are met with; made for the first, as reading all roots takes a while."""
        with self._lock:
            if self._made is None:
                context = client_tls_context(self._roots)
                context.set_alpn_protocols(["http/1.1"])
                self._made = context, CertificateRequests(context)
            return self._made

    def _status(
        self, origin: Origin, seconds: float, reach: Reach, context: ssl.SSLContext, *, ask: bool
    ) -> int | None:
        """Connect, and with ``ask`` send a HEAD: its status, and the connection is kept."""
        pool, is_proxied = self._routing.choose(origin, reach, ssl_context=context)
        kept, _ = self._routing.choose(origin, reach)
        assert isinstance(pool, TLSPool)  # noqa: S101 for the type
        assert isinstance(kept, TLSPool)  # noqa: S101 the same
        connection = pool.connected(min(seconds, self._connect_seconds))
        try:
            if not is_proxied and connection.peer is not None:
                self._destinations.connected(origin.host, origin.port, connection.peer)
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
