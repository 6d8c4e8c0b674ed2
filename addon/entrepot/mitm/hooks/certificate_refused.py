"""A client that refuses our certificate: its connections to that host are tunnelled for a while.

So one machine without the CA still pulls, uncached, and the log says which it is. Which client it
is shows in the ClientHello. On a CONNECT that comes after the answer to it: the connection becomes
a tunnel then, and a server that cannot be reached is a closed connection instead of a 502. Of a
redirected connection the ClientHello is there when it is decided (``redirected_connections``).

After the authority was changed one that refuses the new is signed for by the one before, as long as
that is told of: only who refuses both is tunnelled.
"""

from mitmproxy import connection, http, tls
from mitmproxy.proxy import mode_specs

from entrepot.app.authority_in_use import Signer
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.mitm.layers.http_layer import SELF
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint

_ALERTS = ("unknown ca", "bad certificate", "certificate unknown", "unsupported certificate")
"""TLS alerts by which a client says that it does not accept our certificate."""

_ONE = "run ca/install.sh on that client and restart its container engine"
_ANOTHER = (
    "another client at that address trusts the CA: it is also needed by what runs behind it, as "
    "docker in docker, kind and virtual machines do"
)


class CertificateRefused:
    """Notices which clients trust our CA, and which do not."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._undecided: dict[str, tuple[Origin, Fingerprint, Signer]] = {}
        """What was shown by clients that have neither refused nor sent a request yet."""

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Tunnel a connection to a registry whose client turns out to be one that refused us."""
        client, address = data.context.client, data.context.server.address
        if address is None or client.id not in self._state.roles:
            return
        try:
            origin = Origin.make("https", address[0], address[1])
        except ValueError:
            return
        shown = Fingerprint.of(data.client_hello.raw_bytes(wrap_in_record=False))
        is_decided = isinstance(client.proxy_mode, mode_specs.TransparentMode)
        interception = self._state.parts().interception
        if not is_decided and interception.tunnels(origin, client_of(client), shown):
            data.ignore_connection = True
            del self._state.roles[client.id]
        else:
            authority = self._state.parts().authority
            signer = authority.signer_for(client_of(client), shown, origin.host)
            self._undecided[client.id] = origin, shown, signer
            if signer.predecessor is not None:
                self._state.predecessors[client.id] = signer.predecessor

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Tunnel a client that refuses our certificate from now on."""
        parts, client = self._state.parts(), client_of(data.context.client)
        parts.events.count(Counter.HANDSHAKE_FAILED)
        undecided = self._undecided.pop(data.context.client.id, None)
        error = data.conn.error or ""
        if not any(word in error for word in _ALERTS):
            return
        parts.events.count(Counter.HANDSHAKE_REFUSED)
        if undecided is None:
            return
        origin, shown, signer = undecided
        outcome = parts.authority.refused(client, shown, signer)
        if outcome is not None:
            self._say(outcome, _ONE, client, origin, shown)
            return
        refusal = parts.interception.certificate_refused(origin, client, shown)
        if refusal is not None:
            outcome = f"tunnelled for {refusal.seconds / 60:.0f}min"
            hint = f"{_ONE}; {_ANOTHER}" if refusal.others_trust else _ONE
            self._say(outcome, hint, client, origin, shown)

    def _say(
        self, outcome: str, hint: str, client: str, origin: Origin, shown: Fingerprint
    ) -> None:
        self._state.parts().events.log(
            Event.CERTIFICATE_REFUSED,
            client=client,
            host=origin.authority,
            fingerprint=shown,
            outcome=outcome,
            hint=hint,
        )

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take a connection's first request for the proof that its client trusts us."""
        undecided = self._undecided.pop(flow.client_conn.id, None)
        if undecided is not None:
            origin, shown, signer = undecided
            parts, client = self._state.parts(), client_of(flow.client_conn)
            parts.interception.certificate_trusted(origin, client, shown)
            parts.authority.trusted(client, signer)

    def request(self, flow: http.HTTPFlow) -> None:
        """Notice who fetches the certificate, to trust it from now on.

        Who asks for it with a query only looks whether it is installed (``docker-proxy.sh check``).
        """
        path, query, _ = flow.request.path.partition("?")
        if path == "/ca.pem" and flow.request.host == SELF and flow.response is None:
            parts, client = self._state.parts(), client_of(flow.client_conn)
            parts.interception.certificate_fetched(client)
            if not query:
                parts.authority.clients.fetched(client, parts.context.wall())

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a connection that has ended."""
        self._undecided.pop(client.id, None)
        self._state.predecessors.pop(client.id, None)
