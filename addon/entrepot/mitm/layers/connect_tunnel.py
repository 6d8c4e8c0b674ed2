"""The blind tunnel of a CONNECT, opened before the client is answered.

Through an upstream proxy mitmproxy's own answers CONNECT with 200 and opens the tunnel with the
client's first bytes: too late for a server that speaks first, and for a 502. And in each tunnel it
stops both directions while one is held up. Internals of mitmproxy 11.0 to 12.3, covered by
``tests/wire/test_interception.py`` and ``test_corporate_proxy.py``.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy

TUNNEL = "entrepot.tunnel"
OVERDUE = "entrepot.overdue"
"""Keys of ``flow.metadata``: that a CONNECT is to be tunnelled, and that a connection was not made
in time."""


@dataclass
class TunnelOpened(commands.Command):
    """Say that a tunnel is open, or why it is not; never leaves the stream that made it."""

    problem: str | None


class _Opening(layer.Layer):
    """Opens what it lies on, says so, then relays bytes."""

    _relay: layer.Layer | None = None

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if self._relay is not None:
            yield from self._relay.handle_event(event)
        elif isinstance(event, events.Start):
            problem = yield commands.OpenConnection(self.context.server)
            yield TunnelOpened(problem)
            if problem is None:
                self._relay = layers.TCPLayer(self.context, ignore=True)
                yield from self._relay.handle_event(event)


class ProxiedTunnel(layer.Layer):
    """Bytes to a host and back, through the upstream proxy of ``context.server.via``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        stack = HttpUpstreamProxy.make(context, True)  # noqa: FBT003 that is how it is declared
        stack /= _Opening(context)
        self._first = stack[0]

    def open(self) -> Iterator[Any]:
        """Begin; a :class:`TunnelOpened` comes of this or of a later event."""
        yield from self._first.handle_event(events.Start())

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, events.Start):  # it was started by open()
            yield from self._first.handle_event(event)


def late_tunnel(context: Context) -> layer.Layer:
    """A blind tunnel that opens with the client's first bytes, by the upstream proxy if it must."""
    relay = layers.TCPLayer(context, ignore=True)
    if context.server.via is None:
        return relay
    stack = HttpUpstreamProxy.make(context, send_connect=True)
    stack /= relay
    return stack[0]


def waits_for_proxy(flow: http.HTTPFlow) -> bool:
    """Whether a flow still waits for the upstream proxy to lead on."""
    return flow.server_conn.via is not None and flow.server_conn.timestamp_start is None


def naming_proxy(flow: http.HTTPFlow, problem: str) -> str:
    """What is wrong with the upstream proxy, and where that is."""
    if flow.metadata.get(OVERDUE):
        problem = "no answer in time"
    if flow.server_conn.via is None:
        return problem
    scheme, (host, port, *_) = flow.server_conn.via
    shown = f"[{host}]" if ":" in host else host
    return f"the upstream proxy {scheme}://{shown}:{port}: {problem}"


def decouple_directions(handler: Any) -> None:
    """Let each direction of a tunnel go at its own pace; ``handler`` is mitmproxy's.

    By itself whoever has read waits until all that was written is taken: a client that first sends
    and then reads would never get to reading.
    """

    async def drain_writers() -> None:
        reading = asyncio.current_task()
        for io in list(handler.transports.values()):
            if io.writer is None or io.handler is reading:
                continue
            try:
                await io.writer.drain()
            except OSError as error:
                if io.handler is not None:
                    io.handler.cancel(f"Error sending data: {error}")

    handler.drain_writers = drain_writers
