"""Hooks of connections: intercept or tunnel, and which layer reads the bytes."""

import contextlib

from mitmproxy import connection, http, tls
from mitmproxy.proxy import layer

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.mitm.hooks.proxyauth import ask_plainly
from entrepot.mitm.layers import error_pages, translate
from entrepot.mitm.layers.body_layer import TUNNEL, choose_layer
from entrepot.mitm.lifecycle import Running, client_of
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.interception import Role

_DISTRUST = ("unknown ca", "bad certificate", "certificate unknown", "unsupported certificate")
"""TLS alerts by which a client says that it does not accept our certificate."""


class Connections:
    """Decides what becomes of a connection."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._tunnels: set[str] = set()

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Decide whether a CONNECT is intercepted or tunnelled blind."""
        if self._running.engine is None or self._running.draining:
            flow.response = error_pages.text(503, "the cache is not running")
            return
        refusal = self._running.parts().admission.refusal(client_of(flow.client_conn))
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
            self._running.roles[flow.client_conn.id] = role

    async def _role(self, flow: http.HTTPFlow) -> Role | None:
        """As what to intercept; whatever goes wrong means a tunnel (promise 4)."""
        origin = translate.origin_of(flow, scheme="https")
        if origin is None:
            return None
        try:
            interception = self._running.parts().interception
            return await interception.role(origin, client_of(flow.client_conn))
        except Exception:  # noqa: BLE001 one failure must not end the others
            self._running.events().log(Event.HOOK_FAILED, task="the decision on a CONNECT")
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

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Tunnel a client that refuses our certificate from now on."""
        self._running.parts().events.count(Counter.HANDSHAKE_FAILED)
        address = data.context.server.address
        error = data.conn.error or ""
        if address is None or not any(word in error for word in _DISTRUST):
            return
        try:
            origin = Origin.make("https", address[0], address[1])
        except ValueError:
            return
        parts, client = self._running.parts(), client_of(data.context.client)
        if parts.interception.certificate_refused(origin, client):
            parts.events.log(
                Event.CERTIFICATE_REFUSED,
                client=client_of(data.context.client),
                host=origin.authority,
                outcome="tunnelled for 10min",
                hint="run ca/install.sh on that client and restart its container engine",
            )

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Look again at a host that refused our TLS: it may want a certificate now."""
        self._doubt(data.context.client, data.context.server.address)

    def error(self, flow: http.HTTPFlow) -> None:
        """The same where it broke off: in TLS 1.3 a refusal comes after the handshake."""
        failure: error_pages.Failure | None = flow.metadata.get(error_pages.FAILURE)
        if flow.response is None and failure is not None and failure.connected:
            self._doubt(flow.client_conn, flow.server_conn.address)

    def _doubt(self, client: connection.Client, address: connection.Address | None) -> None:
        if address is None or client.id not in self._running.roles:
            return
        with contextlib.suppress(ValueError):
            origin = Origin.make("https", address[0], address[1])
            self._running.parts().hosts.doubt(origin, client_of(client))

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget what was known of a connection."""
        self._tunnels.discard(client.id)
        self._running.roles.pop(client.id, None)
