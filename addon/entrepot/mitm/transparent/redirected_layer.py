"""The first layer of a redirected connection: it waits until its client has named a host.

mitmproxy's transparent mode knows the address that the client connected to. In what can be cached
the client speaks first, TLS or HTTP, and names a host (``first_bytes``). The addon decides on that
name (``redirected_connections``). A registry is then reached by its *name*, as after a CONNECT: who
has a name lead to a server of theirs gets nothing into the cache. All else is a blind tunnel to the
address, also where the client says nothing for a while: there the server speaks first.

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/wire/test_transparent.py``.
"""

from dataclasses import dataclass

from mitmproxy.connection import Address
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode

from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.connect_tunnel import late_tunnel
from entrepot.mitm.layers.http_layer import EntrepotHttpLayer
from entrepot.mitm.layers.request_head import Refusal
from entrepot.mitm.layers.tls_limits import intercepting_tls
from entrepot.mitm.transparent.first_bytes import Unclear, wanted
from entrepot.protocol.identifiers import Origin

NAMED_WITHIN = 2.0
"""Seconds for a client to name a host. One that is slower is tunnelled, so uncached."""


@dataclass
class EntrepotRedirectedHook(commands.StartHook):
    """Ask the addon what becomes of a connection."""

    redirected: "RedirectedConnection"


class RedirectedConnection(layer.Layer):
    """The first layer of a redirected connection.

    The addon sets ``registry`` for a connection to look into, ``refusal`` for one to close, and
    ``why_tunnelled`` where a registry is tunnelled, and the server's ``via`` where it is to be
    reached through an upstream proxy. ``received`` is what came of the client until then.
    """

    def __init__(self, context: Context, came_in_at: Address) -> None:
        """``came_in_at`` is our own end."""
        context.layers.clear()
        super().__init__(context)
        self.came_in_at = came_in_at
        self.wanted: Origin | Unclear = Unclear.YET
        self.registry: Origin | None = None
        self.refusal: Refusal | None = None
        self.why_tunnelled: str | None = None
        """Why the tunnel to a registry is one; None for any other connection."""
        self.sent = 0
        """Bytes that went to the client through a tunnel."""
        self.received = b""
        self._timer = commands.RequestWakeup(NAMED_WITHIN)
        self._child: layer.Layer | None = None

    @property
    def destination(self) -> Address:
        """What its client connected to."""
        assert self.context.server.address is not None  # noqa: S101 set by mitmproxy
        return self.context.server.address

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if self._child is not None:
            yield from self._pass_on(event)
        elif isinstance(event, events.Start):
            yield self._timer
        elif isinstance(event, events.ConnectionClosed) and not self.received:
            yield from self._end(b"")
        else:
            if isinstance(event, events.DataReceived):
                self.received += event.data
                self.wanted = wanted(self.received, self.destination[1])
                if self.wanted is Unclear.YET:
                    return
            yield from self._decide()
            if isinstance(event, events.ConnectionClosed):
                yield from self._pass_on(event)

    def _pass_on(self, event: events.Event) -> layer.CommandGenerator[None]:
        ours = isinstance(event, events.Wakeup) and event.command is self._timer
        if self._child is None or ours:
            return
        if self.why_tunnelled is None:
            yield from self._child.handle_event(event)
            return
        for command in self._child.handle_event(event):
            if isinstance(command, commands.SendData) and command.connection is self.context.client:
                self.sent += len(command.data)
            yield command

    def _decide(self) -> layer.CommandGenerator[None]:
        yield EntrepotRedirectedHook(self)
        if self.refusal is not None:
            answer = error_pages.raw(error_pages.text(self.refusal.status, self.refusal.reason))
            yield from self._end(answer if b" HTTP/1." in self.received else b"")
            return
        registry = self.registry
        self._child = late_tunnel(self.context) if registry is None else self._inside(registry)
        yield from self._child.handle_event(events.Start())
        if self.received:
            client = self.context.client
            yield from self._child.handle_event(events.DataReceived(client, self.received))
            self.received = b""

    def _inside(self, registry: Origin) -> layer.Layer:
        self.context.server.address = (registry.host, registry.port)
        if starts_like_tls_record(self.received):
            return intercepting_tls(self.context)
        return EntrepotHttpLayer(self.context, HTTPMode.transparent)

    def _end(self, answer: bytes) -> layer.CommandGenerator[None]:
        self._child = _Ended(self.context)
        if answer:
            yield commands.SendData(self.context.client, answer)
        yield commands.CloseConnection(self.context.client)


class _Ended(layer.Layer):
    """What still happens on a connection that we have closed: nothing."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:  # noqa: ARG002
        yield from ()
