"""A client that refuses our certificate: its connections to that host are tunnelled for a while.

So one machine without the CA still pulls, uncached, and the log says which it is.
"""

from mitmproxy import tls

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.identifiers import Origin

_ALERTS = ("unknown ca", "bad certificate", "certificate unknown", "unsupported certificate")
"""TLS alerts by which a client says that it does not accept our certificate."""


class CertificateRefused:
    """Notices clients that do not trust our CA."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Tunnel a client that refuses our certificate from now on."""
        self._state.parts().events.count(Counter.HANDSHAKE_FAILED)
        address = data.context.server.address
        error = data.conn.error or ""
        if address is None or not any(word in error for word in _ALERTS):
            return
        try:
            origin = Origin.make("https", address[0], address[1])
        except ValueError:
            return
        parts, client = self._state.parts(), client_of(data.context.client)
        if parts.interception.certificate_refused(origin, client):
            parts.events.log(
                Event.CERTIFICATE_REFUSED,
                client=client_of(data.context.client),
                host=origin.authority,
                outcome="tunnelled for 10min",
                hint="run ca/install.sh on that client and restart its container engine",
            )
