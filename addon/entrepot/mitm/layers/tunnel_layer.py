"""Blind tunnels, and one through the upstream proxy, opened before the client hears of it.

mitmproxy's own answers CONNECT with 200 and opens it with the client's first bytes: too late for a
server that speaks first, and for a 502. In each, it ends both directions with the first that ends,
and stops both while one is held up. Internals of mitmproxy 11.0 to 12.3, as in ``serving``.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
)
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


def bare(event: events.Event, client: Connection, server: Connection) -> events.Event:
    """An event of HTTP as one of the connection below it."""
    match event:
        case RequestData():
            return events.DataReceived(client, event.data)
        case ResponseData():
            return events.DataReceived(server, event.data)
        case RequestEndOfMessage():
            return events.ConnectionClosed(client)
        case ResponseEndOfMessage():
            return events.ConnectionClosed(server)
    return event


def below_http(
    command: commands.Command, stream_id: int, server: Connection | None
) -> commands.Command:
    """A command for ``server``'s connection, where that belongs to HTTP, as one of HTTP's."""
    if server is None or getattr(command, "connection", None) != server:
        return command
    match command:
        case commands.SendData():
            return SendHttp(RequestData(stream_id, command.data), server)
        case commands.CloseTcpConnection(half_close=True):
            return SendHttp(RequestEndOfMessage(stream_id), server)
        case commands.CloseConnection():
            code = RequestProtocolError.code
            return SendHttp(RequestProtocolError(stream_id, "EOF", code), server)
    return command


def part_ways(handler: Any) -> None:
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
