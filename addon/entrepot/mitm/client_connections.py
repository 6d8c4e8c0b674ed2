"""What each client's connection is doing: whose turn it is, and since when.

A request is under way from its head until its answer has ended; so is a CONNECT. What is neither
is a tunnel, or idle.
"""

import asyncio
import weakref
from dataclasses import dataclass
from typing import Any

from mitmproxy import connection, ctx, http, tls

from entrepot.bounded_map import BoundedMap
from entrepot.mitm.layers.connect_tunnel import TUNNEL, decouple_directions
from entrepot.mitm.layers.error_pages import speaks_registry
from entrepot.mitm.layers.http_layer import SELF
from entrepot.mitm.state import client_of
from entrepot.mitm.translate import is_to_a_mirror
from entrepot.mitm.transparent.redirected_layer import RedirectedConnection

_MOST_CLIENTS = 10_000
"""Of so many addresses it is known when they last got an answer."""


@dataclass(slots=True)
class ClientConnection:
    """A client's connection; times are the event loop's."""

    client: connection.Client
    handler: Any
    """mitmproxy's, which reads it."""
    transport: asyncio.Transport
    began: float
    turn: float
    """When it last became the client's turn: at the connection's begin, and after each answer."""
    flow: http.HTTPFlow | None = None
    """The request that is under way."""
    answered: bool = False
    """Whether a request was answered already."""
    tunnel: bool = False


class ClientConnections:
    """Follows the connections of clients; what else looks at them comes after it."""

    def __init__(self) -> None:
        self.open: dict[str, ClientConnection] = {}
        """By the client connection's id, which mitmproxy gives."""
        self.last_answer: BoundedMap[str, float] = BoundedMap(_MOST_CLIENTS)
        """When each address last got an answer to more than a page of ours."""
        self._closed: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def client_connected(self, client: connection.Client) -> None:
        """Follow a new connection."""
        handler = ctx.master.addons.get("proxyserver").connections[client.id]
        transport = handler.transports[client].writer.transport
        now = asyncio.get_running_loop().time()
        self.open[client.id] = ClientConnection(client, handler, transport, now, now)

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget a connection that has ended: what hangs on it is hundreds of KiB."""
        ended = self.open.pop(client.id, None)
        if ended is not None and ended.transport.get_write_buffer_size():
            self._closed.add(ended.transport)

    def unsent(self) -> int:
        """How many connections are closed whose clients have not taken all of the last answer."""
        return sum(bool(transport.get_write_buffer_size()) for transport in self._closed)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note that a request has come, though perhaps not its body."""
        self._begin(flow)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Note that a CONNECT has come."""
        self._begin(flow)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Go on with what comes inside of CONNECT."""
        self._end(flow)
        if flow.metadata.get(TUNNEL):
            self._tunnelled(flow.client_conn)

    def response(self, flow: http.HTTPFlow) -> None:
        """Note that a request was answered; what follows a 101 is a tunnel."""
        self._end(flow)
        if flow.response is not None and flow.response.status_code == 101:
            self._tunnelled(flow.client_conn)

    def entrepot_redirected(self, redirected: RedirectedConnection) -> None:
        """Note that a redirected connection is a tunnel, which was decided just now."""
        if redirected.registry is None:
            self._tunnelled(redirected.context.client)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Note that a CONNECT became a tunnel with its ClientHello (``certificate_refused``)."""
        if data.ignore_connection:
            self._tunnelled(data.context.client)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """Note that a CONNECT was refused."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Note that a request has ended without an answer."""
        self._end(flow)

    def _begin(self, flow: http.HTTPFlow) -> None:
        if followed := self.open.get(flow.client_conn.id):
            followed.flow = flow

    def _end(self, flow: http.HTTPFlow) -> None:
        if followed := self.open.get(flow.client_conn.id):
            followed.flow, followed.turn = None, asyncio.get_running_loop().time()
            followed.answered = flow.request.method != "CONNECT"
            if followed.answered and not _is_page_of_ours(flow):
                self.last_answer.put(client_of(flow.client_conn), followed.turn)

    def _tunnelled(self, client: connection.Client) -> None:
        if followed := self.open.get(client.id):
            followed.tunnel = True
            decouple_directions(followed.handler)


def _is_page_of_ours(flow: http.HTTPFlow) -> bool:
    """Whether a flow is nobody's pull: a monitor that asks ``/healthz`` comes every second."""
    if flow.request.host == SELF:
        return True
    return is_to_a_mirror(flow) and not speaks_registry(flow.request)
