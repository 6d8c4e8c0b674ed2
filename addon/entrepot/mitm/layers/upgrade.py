"""101 Switching Protocols: what follows it is a blind tunnel (RFC 9110 section 7.8).

By itself mitmproxy keeps every message of a WebSocket, or of bytes, in the flow; loses the leading
blank lines of what follows the 101, or frames it in chunks; and ends both directions with the first
that ends. Here nothing is kept, every byte is handed on as it is, and the end of one direction
leaves the other open.

A tunnel of mitmproxy's lies on a connection; here HTTP owns that, so the tunnel's events and
commands are those of HTTP on their way. Internals of mitmproxy 11.0 to 12.3, covered by
``tests/attack/test_upgrades.py``.
"""

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server


def below_http(event: events.Event, client: Connection, server: Connection) -> events.Event:
    """An event of HTTP as one of the connection below it, as a tunnel takes it."""
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


def by_http(
    command: commands.Command, stream_id: int, server: Connection | None
) -> commands.Command:
    """A tunnel's command for ``server``'s connection, where that belongs to HTTP, as HTTP's."""
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


def is_upgraded(connection: Http1Server) -> bool:
    """Whether the last answer on a client's connection is a 101."""
    return connection.response is not None and connection.response.status_code == 101


def hand_on_bytes(connection: Http1Server | Http1Client) -> layer.CommandGenerator[None]:
    """Let HTTP/1 read no more; what it has received and not read goes on as it is."""
    connection.state = connection.passthrough
    received = bytes(connection.buf.maybe_extract_at_most(len(connection.buf)) or b"")
    if received:
        yield from connection.passthrough(events.DataReceived(connection.conn, received))
