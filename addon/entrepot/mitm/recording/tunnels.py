"""The record of each tunnel to a registry: what the cache could not look into, and why.

A host that is no registry by name is nobody's business, and leaves no record. A tunnel is recorded
when it has ended, with its bytes and how long it was.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import connection, http, tls

from entrepot.mitm import translate
from entrepot.mitm.layers.connect_tunnel import TUNNEL
from entrepot.mitm.recording.subject import UNTRUSTING, road_of
from entrepot.mitm.sending.chunk_loop import SENT
from entrepot.mitm.state import ProxyState, client_of
from entrepot.mitm.transparent.redirected_layer import RedirectedConnection
from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import LONGEST_REASON, RequestRecord, cleaned_agent
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirks import configured_name


@dataclass(slots=True)
class _Tunnel:
    """A tunnel that is open."""

    origin: Origin
    why: str
    sent: Callable[[], int]
    agent: str = ""
    status: int = 200
    cut: str = ""
    began: float = 0.0
    opened: float = 0.0


class RecordTunnels:
    """Makes the record of each tunnel; comes after those who decide on tunnels."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._open: dict[str, _Tunnel] = {}
        self._connects: dict[str, http.HTTPFlow] = {}
        """The CONNECT of each client, of whom it shows only later whether it trusts us."""

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Note a CONNECT to a registry that is going to be tunnelled."""
        if not self._is_on():
            return
        self._connects[flow.client_conn.id] = flow
        origin = translate.origin_of(flow, scheme="https")
        if TUNNEL in flow.metadata and origin is not None:
            why = self._state.parts().interception.why_tunnelled(origin)
            if why is not None:
                self._open[flow.client_conn.id] = _connected(flow, origin, why)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Note a connection that is tunnelled since its client does not trust us."""
        flow = self._connects.get(data.context.client.id)
        origin = translate.origin_of(flow, scheme="https") if flow is not None else None
        if data.ignore_connection and flow is not None and origin is not None:
            tunnel = _connected(flow, origin, UNTRUSTING)
            tunnel.opened = time.time()
            self._open[data.context.client.id] = tunnel

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Note that it is open."""
        if tunnel := self._open.get(flow.client_conn.id):
            tunnel.opened = time.time()

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Record one that could not be opened: its client may try again."""
        tunnel = self._open.get(flow.client_conn.id)
        if tunnel is not None and flow.response is not None:
            tunnel.status = flow.response.status_code
            tunnel.cut = flow.error.msg if flow.error is not None else ""
            self.client_disconnected(flow.client_conn)

    def entrepot_redirected(self, redirected: RedirectedConnection) -> None:
        """Note a redirected connection to a registry that is going to be tunnelled."""
        why, wanted = redirected.why_tunnelled, redirected.wanted
        if why is not None and isinstance(wanted, Origin) and self._is_on():
            now = time.time()
            tunnel = _Tunnel(wanted, why, lambda: redirected.sent, began=now, opened=now)
            self._open[redirected.context.client.id] = tunnel

    def client_disconnected(self, client: connection.Client) -> None:
        """Record a tunnel that has ended."""
        self._connects.pop(client.id, None)
        tunnel = self._open.pop(client.id, None)
        if tunnel is None:
            return
        parts, now, sent = self._state.parts(), time.time(), tunnel.sent()
        parts.recorder.put(
            RequestRecord(
                at=tunnel.began,
                client=parts.foundation.config.record.shown(client_of(client)),
                agent=tunnel.agent,
                road=road_of(client),
                registry=configured_name(tunnel.origin),
                kind="tunnel",
                repository="",
                reference="",
                method="CONNECT",
                status=tunnel.status,
                answered="",
                outcome=Outcome.TUNNEL,
                why=tunnel.why,
                cut=tunnel.cut[:LONGEST_REASON],
                sent=sent,
                from_disk=0,
                from_upstream=sent,
                first_byte_ms=max(0, round(((tunnel.opened or now) - tunnel.began) * 1000)),
                total_ms=max(0, round((now - tunnel.began) * 1000)),
            )
        )

    def _is_on(self) -> bool:
        return self._state.engine is not None and self._state.parts().recorder.is_on


def _connected(flow: http.HTTPFlow, origin: Origin, why: str) -> _Tunnel:
    return _Tunnel(
        origin,
        why,
        lambda: flow.metadata.get(SENT, 0),
        agent=cleaned_agent(flow.request.headers.get("user-agent", "")),
        began=flow.request.timestamp_start,
    )
