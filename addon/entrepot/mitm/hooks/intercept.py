"""Intercept or tunnel: what becomes of a CONNECT, and which layer reads the bytes.

A registry is intercepted, and its token server; all else is tunnelled blind. A host that turns out
to refuse our TLS, as one that asks its clients for a certificate, is looked at again.
"""

import contextlib

from mitmproxy import connection, http, tls
from mitmproxy.proxy import layer

from entrepot.events.table import Event
from entrepot.mitm import translate
from entrepot.mitm.hooks.proxyauth import ask_plainly
from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.connect_tunnel import TUNNEL
from entrepot.mitm.layers.mitmproxy_errors import FAILURE, Failure
from entrepot.mitm.layers.next_layer import choose_layer
from entrepot.mitm.restart.drain import STOPPING, Drain
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.interception import Role


class Intercept:
    """Decides whether a connection is intercepted."""

    def __init__(self, state: ProxyState, drain: Drain) -> None:
        self._state = state
        self._drain = drain
        self._tunnels: set[str] = set()

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Decide whether a CONNECT is intercepted or tunnelled blind."""
        if self._state.engine is None or self._drain.refuses(flow.client_conn):
            flow.response = error_pages.text(503, STOPPING)
            return
        refusal = self._state.parts().admission.refusal(client_of(flow.client_conn))
        if refusal is not None:
            flow.response = error_pages.text(403, refusal)
        ask_plainly(flow)  # mitmproxy may have asked for a password already
        if flow.response is not None:
            return
        role = await self._role(flow)
        if role is None:
            flow.metadata[TUNNEL] = True
            self._tunnels.add(flow.client_conn.id)
        else:
            self._state.roles[flow.client_conn.id] = role

    async def _role(self, flow: http.HTTPFlow) -> Role | None:
        """As what to intercept; whatever goes wrong means a tunnel (promise 4)."""
        origin = translate.origin_of(flow, scheme="https")
        if origin is None:
            return None
        try:
            interception = self._state.parts().interception
            return await interception.role(origin, client_of(flow.client_conn))
        except Exception:  # noqa: BLE001 one failure must not end the others
            self._state.events().log(Event.HOOK_FAILED, task="the decision on a CONNECT")
            return None

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Put our HTTP layer where mitmproxy's would be, and a blind tunnel where decided."""
        context = nextlayer.context
        if nextlayer.layer is None:
            tunnel = context.client.id in self._tunnels
            nextlayer.layer = choose_layer(context, nextlayer.data_client(), tunnel=tunnel)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Name the leaf after the CONNECT host where the client names none (an IP address).

        mitmproxy would name it after the address that it listens on, which a constrained
        authority may not sign.
        """
        client, server = data.context.client, data.context.server
        if client.sni is None and server.address is not None:
            client.sni = server.address[0]

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Look again at a host whose handshake failed: it may want a client's certificate now."""
        self._doubt(data.context.client, data.context.server.address)

    def error(self, flow: http.HTTPFlow) -> None:
        """Look again where a connection broke off: in TLS 1.3 a refusal follows the handshake."""
        failure: Failure | None = flow.metadata.get(FAILURE)
        if flow.response is None and failure is not None and failure.connected:
            self._doubt(flow.client_conn, flow.server_conn.address)

    def _doubt(self, client: connection.Client, address: connection.Address | None) -> None:
        if address is None or client.id not in self._state.roles:
            return
        with contextlib.suppress(ValueError):
            origin = Origin.make("https", address[0], address[1])
            self._state.parts().hosts.doubt(origin, client_of(client))

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget what was known of a connection."""
        self._tunnels.discard(client.id)
        self._state.roles.pop(client.id, None)
