"""A tunnel through the upstream proxy that is opened before the client hears of it.

mitmproxy's own answers CONNECT with 200 and opens it with the client's first bytes: too late for a
server that speaks first, and for a 502. Internals of mitmproxy 11.0 to 12.3, as in ``serving``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy

OVERDUE = "entrepot.overdue"
"""Key of ``flow.metadata``: the upstream proxy was given up."""


@dataclass
class RoadOpened(commands.Command):
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
            yield RoadOpened(problem)
            if problem is None:
                self._relay = layers.TCPLayer(self.context, ignore=True)
                yield from self._relay.handle_event(event)


class Road(layer.Layer):
    """Bytes to a host and back, through the upstream proxy of ``context.server.via``."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        stack = HttpUpstreamProxy.make(context, True)  # noqa: FBT003 that is how it is declared
        stack /= _Opening(context)
        self._first = stack[0]

    def open(self) -> Iterator[Any]:
        """Begin; a :class:`RoadOpened` comes of this or of a later event."""
        yield from self._first.handle_event(events.Start())

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, events.Start):  # it was started by open()
            yield from self._first.handle_event(event)


def is_on_its_way(flow: http.HTTPFlow) -> bool:
    """Whether a flow still waits for the upstream proxy to lead on."""
    return flow.server_conn.via is not None and flow.server_conn.timestamp_start is None


def named(flow: http.HTTPFlow, problem: str) -> str:
    """What is wrong with the upstream proxy, and where that is."""
    if flow.metadata.get(OVERDUE):
        problem = "no answer in time"
    if flow.server_conn.via is None:
        return problem
    scheme, (host, port, *_) = flow.server_conn.via
    shown = f"[{host}]" if ":" in host else host
    return f"the upstream proxy {scheme}://{shown}:{port}: {problem}"
