"""A request handed to the page's application as ASGI has it, and its whole answer taken back."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from entrepot.endpoints.page_request import PageRequest
from entrepot.protocol.messages import Answer, Fields

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "date"})


async def hand_over(application: Application, request: PageRequest) -> Answer:
    """Ask the application. Raises what it raises."""
    status, chunks = 500, list[bytes]()
    fields: Fields = ()

    async def receive() -> Message:
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, fields
        if message["type"] == "http.response.start":
            status = message["status"]
            fields = tuple(
                (name.decode("latin-1").title(), value.decode("latin-1"))
                for name, value in message["headers"]
            )
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await application(scope_of(request), receive, send)
    content = b"".join(chunks)
    length: Fields = (("Content-Length", str(len(content))),)
    if request.method == "HEAD":  # what GET would send, as the application said
        length = tuple(one for one in fields if one[0] == "Content-Length")[:1]
        content = b""
    others = tuple(one for one in fields if one[0].lower() not in _FRAMING)
    return Answer(status, (*others, *length), content)


def scope_of(request: PageRequest) -> dict[str, Any]:
    """A connection scope of HTTP (ASGI specification, version 2.4)."""
    path, _, query = request.target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in request.headers
        ],
        "client": (request.client, 0),
        "server": None,
    }
