"""Sending a body in band: the loop in mitmproxy's HTTP layer that sends one chunk after another.

``flow.response`` with content holds a body whole in memory, twice; this sends it in chunks of
1 MiB with the client's own pace as backpressure (measured: as fast as nginx, 80 MB).

The addon leaves a body with the flow. The loop sends the head, then for each chunk asks the addon
by a blocking hook of our own (a ``StartHook`` has exactly one field) and sends one
``ResponseData``. The handler of that hook (``send_body``) waits for the client's socket and reads
the next chunk, or sends it by itself where there is no TLS (``sendfile``).

Internals of mitmproxy 11.0 to 12.3, covered by ``tests/wire/test_serving.py``.
"""

from dataclasses import dataclass
from typing import Any

from mitmproxy.connection import Client
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy.layers.http import HttpStream, SendHttp, _events
from mitmproxy.proxy.layers.http._events import (
    RequestProtocolError,
    ResponseData,
    ResponseHeaders,
    ResponseProtocolError,
)

from entrepot.protocol.messages import Body

BODY = "entrepot.body"
SENT = "entrepot.sent"
CUT = "entrepot.cut"
"""Keys of ``flow.metadata``: a body to send, how many bytes of a body went to the client, and why
they are not all."""

LEFT = "the client has left"
"""How a transfer is cut that its client gave up."""


@dataclass(slots=True)
class Transfer:
    """A body on its way to a client; ``chunk`` is what to send next."""

    client: Client
    body: Body
    plain: bool = False
    """Whether nothing lies between HTTP and the client's socket."""
    chunk: bytes = b""
    sent: int = 0
    """Bytes that went to the client without coming by here."""
    cut: str | None = None
    """Why the transfer must be broken off, where it must."""

    @property
    def is_over(self) -> bool:
        """Whether the last step brought nothing."""
        return not self.chunk and not self.sent

    def take(self) -> bytes:
        """The next chunk, which is held here no longer: its client may never take it."""
        chunk, self.chunk = self.chunk, b""
        return chunk


@dataclass
class EntrepotChunkHook(commands.StartHook):
    """Ask the addon for the next chunk, once the client has taken the last."""

    transfer: Transfer


def send_chunks(stream: HttpStream, body: Body) -> layer.CommandGenerator[str | None]:
    """Send the head and the body of a stream's response; return why that was cut, if it was.

    The body is closed, whatever happens. Its end is left to mitmproxy to tell.
    """
    client, response = stream.context.client, stream.flow.response
    assert response is not None  # noqa: S101 as mitmproxy's own
    yield SendHttp(ResponseHeaders(stream.stream_id, response, end_stream=False), client)
    transfer = Transfer(client, body, plain=not client.tls)
    sent, has_left = 0, False
    try:
        while True:
            yield EntrepotChunkHook(transfer)
            sent += transfer.sent
            has_left = not transfer.is_over and _client_has_left(stream)
            if has_left or transfer.cut is not None or transfer.is_over:
                break
            sent += len(transfer.chunk)
            if transfer.chunk:
                yield _next(stream, transfer)  # unnamed: a name would hold it while it waits
    finally:
        stream.flow.metadata[SENT] = sent
        if transfer.cut is not None or has_left:
            stream.flow.metadata[CUT] = transfer.cut or LEFT
        body.close()
    return transfer.cut


def _next(stream: HttpStream, transfer: Transfer) -> SendHttp:
    return SendHttp(ResponseData(stream.stream_id, transfer.take()), transfer.client)


def _client_has_left(stream: HttpStream) -> bool:
    waiting = stream._paused_event_queue  # noqa: SLF001 what came while a hook was at work
    return any(isinstance(event, RequestProtocolError) for event in waiting)


def broken_off(stream_id: int, reason: str) -> ResponseProtocolError:
    """An event that closes the client's connection without an error page after the head."""
    codes = getattr(_events, "ErrorCode", None)  # mitmproxy 11 has plain statuses
    code: Any = status_codes.NO_RESPONSE if codes is None else codes.KILL
    return ResponseProtocolError(stream_id, reason, code)
