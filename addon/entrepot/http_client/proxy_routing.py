"""By which connections a request goes: directly, or through the upstream (corporate) proxy.

Directly, ``--resolve`` says where a host is found; it does not count for what goes through the
proxy, which finds hosts itself. NO_PROXY names hosts that are reached directly all the same.
Connections that are kept open are used again only for those who would have been led there: there
are pools for each reach.
"""

import ssl
import threading
from collections.abc import Collection
from functools import partial
from typing import NamedTuple

import urllib3

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.no_proxy import NoProxyEntry, is_direct
from entrepot.http_client.connect.ssrf_guard import DestinationError, Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.pools import client_tls_context, pool_manager
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.network_reach import Reach


class Route(NamedTuple):
    """The connections that a request may take."""

    pool: urllib3.HTTPConnectionPool
    is_proxied: bool
    """Whether they lead through the upstream proxy."""


class ProxyRouting:
    """Chooses connections by origin and reach; safe to use from many threads."""

    def __init__(
        self,
        roots: Roots,
        destinations: Destinations,
        *,
        resolve: Collection[Resolve] = (),
        proxy: UpstreamProxy | None = None,
        no_proxy: tuple[NoProxyEntry, ...] = (),
        via: str | None = None,
    ) -> None:
        """``via`` is what the proxy is told, by which a loop is known (RFC 9110 section 7.6.3)."""
        self._destinations = destinations
        self._resolve = {(r.host, r.port): (r.address, r.target_port) for r in resolve}
        self._no_proxy = no_proxy
        self._lock = threading.Lock()
        context = client_tls_context(roots)
        self._direct = {
            reach: pool_manager(urllib3.PoolManager, context, partial(destinations.refusal, reach))
            for reach in Reach
        }
        self._proxied = None if proxy is None else _proxied(proxy, via, roots, context)

    def choose(self, origin: Origin, reach: Reach, **tls: object) -> Route:
        """The connections to ``origin`` for who may be led as far as ``reach``.

        ``tls`` are options of urllib3's, for connections apart from the others. Raises
        ``DestinationError`` where it is known beforehand that nobody is led there.
        """
        address, port = origin.host, origin.port
        proxied = self._proxied
        if proxied is not None and is_direct(self._no_proxy, address, port):
            proxied = None
        if proxied is None:
            address, port = self._resolve.get((address, port), (address, port))
        else:  # it alone resolves the name, so only by that can anything be refused
            why = self._destinations.foreseen(reach, address, port, elsewhere=True)
            if why is not None:
                raise DestinationError(why)
        options = dict(tls)
        if origin.scheme == "https" and address != origin.host:
            options |= {"server_hostname": origin.host, "assert_hostname": origin.host}
        pools = proxied or self._direct[reach]
        with self._lock:
            pool = pools.connection_from_host(address, port, origin.scheme, options)
        return Route(pool, proxied is not None)

    def close(self) -> None:
        """End every idle connection."""
        for pools in self._direct.values():
            pools.clear()
        if self._proxied is not None:
            self._proxied.clear()


def _proxied(
    proxy: UpstreamProxy, via: str | None, roots: Roots, context: ssl.SSLContext
) -> urllib3.PoolManager:
    fields = {"Proxy-Authorization": proxy.authorization, "Via": via}
    make = partial(
        urllib3.ProxyManager,
        proxy.url,
        proxy_headers={name: value for name, value in fields.items() if value},
        proxy_ssl_context=roots.context(),
    )
    return pool_manager(make, context)
