"""A registry that misbehaves exactly as told, and records every request it got.

`server.routes[path] = handler` where a handler takes an `Exchange`; `Content` is the handler for
bodies, with a knob for every way in which an upstream goes wrong. Anything unknown is 404.
"""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rig.certs import Authority
from rig.images import Image
from rig.process import RigError, eventually
from rig.tcp_table import tcp_sockets

_PATIENCE = 60
_CHUNK = 1 << 16


@dataclass(slots=True)
class Recorded:
    """A request, and what was sent back so far (`sent` counts body bytes)."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    host: str
    status: int = 0
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class Gate:
    """Lets through as many bytes as it was told to; `open` lets everything through."""

    def __init__(self, allowed: int = 0) -> None:
        self._condition = threading.Condition()
        self._allowed: float = allowed

    def allow(self, count: int) -> None:
        with self._condition:
            self._allowed += count
            self._condition.notify_all()

    def open(self) -> None:
        with self._condition:
            self._allowed = float("inf")
            self._condition.notify_all()

    def take(self, most: int) -> int:
        """Wait until at least a byte may pass; return how many of `most` do."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._allowed >= 1, _PATIENCE):
                raise RigError(f"nobody opened the gate in {_PATIENCE} s")
            count = int(min(most, self._allowed))
            self._allowed -= count
            return count


class Exchange:
    """One request being answered."""

    def __init__(self, handler: "_Handler", request: Recorded) -> None:
        self._handler = handler
        self.request = request
        self._chunked = False

    def read_body(self) -> bytes:
        length = int(self._handler.headers.get("Content-Length", "0"))
        return self._handler.rfile.read(length)

    def send(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        self.start(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.request.method != "HEAD":
            self.write(body)

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head; without a Content-Length the body is chunked and ended by `finish`."""
        self.request.status = status
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._chunked = "content-length" not in {name.lower() for name in headers}
        if self._chunked:
            self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()

    def write(self, data: bytes) -> None:
        if data:
            frame = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            self.request.sent += len(data)  # first: the client may look as soon as it has it
            self._handler.wfile.write(frame)

    def finish(self) -> None:
        if self._chunked and self.request.method != "HEAD":
            self._handler.wfile.write(b"0\r\n\r\n")

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, whatever HTTP says."""
        self._handler.wfile.write(data)

    def hang_up(self) -> None:
        """Close the connection after this answer, without having said so in its head."""
        self._handler.close_connection = True

    def cut(self, *, reset: bool = True) -> None:
        """Break the connection off here: by TCP reset, or by an orderly but early end."""
        connection = self._handler.connection
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_RDWR)
        self._handler.close_connection = True
        self._handler.broken = True


Handler = Callable[[Exchange], None]


@dataclass
class Content:
    """Serves `body` as a well-behaved registry would, but for the knobs (change them any time).

    `cut_after` bytes of an answer's body it breaks off, `cuts` times (None: always), by reset or
    not; `ranges` False answers a Range with 200 and everything; `chunked` leaves Content-Length
    out; `wait` is awaited before the head; `gate` is asked before each piece of the body;
    `head_status` answers every HEAD with that; `length` claims another Content-Length.
    """

    body: bytes
    media_type: str = "application/octet-stream"
    digest: str | None = None
    ranges: bool = True
    chunked: bool = False
    cut_after: int | None = None
    cuts: int | None = None
    reset: bool = True
    wait: threading.Event | None = None
    gate: Gate | None = None
    head_status: int | None = None
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> None:
        if self.wait and not self.wait.wait(_PATIENCE):
            raise RigError(f"nobody set the event in {_PATIENCE} s")
        if exchange.request.method == "HEAD" and self.head_status:
            exchange.send(self.head_status)
            return
        wanted = self.wanted(exchange.request.range)
        start, end = wanted or (0, len(self.body))
        if start >= len(self.body) > 0:
            exchange.send(416, headers={"Content-Range": f"bytes */{len(self.body)}"})
            return
        partial = wanted is not None and bool(self.body)
        exchange.start(206 if partial else 200, self._head(start, end, partial=partial))
        if exchange.request.method != "HEAD":
            self._send_body(exchange, self.body[start:end])

    def wanted(self, header: str | None) -> tuple[int, int] | None:
        """Which bytes a Range asks for, from where up to where; None for all."""
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
        if not (self.ranges and wanted and any(wanted.groups())):
            return None
        if not wanted[1]:
            return max(0, len(self.body) - int(wanted[2])), len(self.body)
        last = int(wanted[2]) + 1 if wanted[2] else len(self.body)
        return int(wanted[1]), min(last, len(self.body))

    def _head(self, start: int, end: int, *, partial: bool) -> dict[str, str]:
        head = {"Content-Type": self.media_type, **self.headers}
        if self.digest:
            head["Docker-Content-Digest"] = self.digest
        if not self.chunked:
            head["Content-Length"] = str(end - start if self.length is None else self.length)
        if partial:
            head["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.body)}"
        return head

    def _send_body(self, exchange: Exchange, body: bytes) -> None:
        cut = self.cut_after is not None and self.cuts != 0
        rest = memoryview(body)[: self.cut_after] if cut else memoryview(body)
        while rest:
            count = self.gate.take(min(_CHUNK, len(rest))) if self.gate else min(_CHUNK, len(rest))
            exchange.write(bytes(rest[:count]))
            rest = rest[count:]
        if cut:
            self.cuts = None if self.cuts is None else self.cuts - 1
            exchange.cut(reset=self.reset)
        else:
            exchange.finish()


def status(code: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Handler:
    """Return a handler that always answers this."""
    return lambda exchange: exchange.send(code, body, headers)


def redirect(location: str, code: int = 307) -> Handler:
    """Return a handler that sends every request elsewhere."""
    return status(code, headers={"Location": location})


def error(code: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> Handler:
    """Return a handler that answers with an OCI error."""
    body = json.dumps({"errors": [{"code": name, "message": message, "detail": None}]}).encode()
    return status(code, body, {"Content-Type": "application/json", **(headers or {})})


def first(times: int, then: Handler, otherwise: Handler) -> Handler:
    """Return a handler that is `then` for the first `times` requests and `otherwise` after."""
    left = iter(range(times))

    def choose(exchange: Exchange) -> None:
        handler = otherwise if next(left, None) is None else then
        handler(exchange)

    return choose


class FaultServer:
    """Listens on a loopback port, with TLS for `names` unless `authority` is None.

    `context` shows another certificate than the authority would issue.
    """

    def __init__(
        self, authority: Authority | None, *names: str, context: ssl.SSLContext | None = None
    ) -> None:
        self.names = names
        self.routes: dict[str, Handler] = {}
        self.instead: Handler | None = None
        """What answers every request, whatever its route says."""
        self.requests: list[Recorded] = []
        if authority and not context:
            context = authority.issue(*names).server_context()
        self._server = _Server(self, context)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.reset()
        self._thread.start()

    @property
    def resolve(self) -> list[str]:
        return [f"{name}:443:127.0.0.1:{self.port}" for name in self.names]

    def begin_anew(self) -> None:
        """Forget all of an earlier test, with what its clients sent and nobody has read."""
        self._server.end_all()
        self.reset()

    def reset(self) -> None:
        """Forget all routes but `/v2/`, what is done instead, and the record."""
        self.instead = None
        ping = status(200, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})
        self.routes = {"/v2/": ping}
        self.requests = []

    def limit_after(self, number: int, text: str) -> None:
        """Serve so many requests more; then answer 429, without a word of when to come again."""
        limited = error(429, "TOOMANYREQUESTS", text)
        left = iter(range(number))

        def answer(exchange: Exchange) -> None:
            route = self.routes.get(exchange.request.path, limited)
            (limited if next(left, None) is None else route)(exchange)

        self.instead = answer

    def show(self, context: ssl.SSLContext) -> None:
        """Show another certificate on connections that come from now on."""
        self._server.context = context

    def hang_up(self) -> None:
        """End every connection that is open."""
        self._server.hang_up()

    def add_blob(self, repository: str, content: bytes) -> tuple[str, Content]:
        """Serve bytes under their digest; return the path and the handler to spoil."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = f"/v2/{repository}/blobs/{digest}"
        handler = Content(content, digest=digest)
        self.routes[path] = handler
        return path, handler

    def publish(self, image: Image, repository: str, tag: str) -> dict[str, Content]:
        """Serve an image whole; return its handlers (tag, manifest and blob digests) to spoil."""
        made: dict[str, Content] = {}
        for manifest in image.manifests:
            handler = Content(manifest.body, manifest.media_type, manifest.digest)
            names = (tag, manifest.digest) if manifest is image.root else (manifest.digest,)
            for name in names:
                self.routes[f"/v2/{repository}/manifests/{name}"] = handler
                made[name] = handler
        for blob in image.blobs:
            made[blob.digest] = Content(blob.read(), digest=blob.digest)
            self.routes[f"/v2/{repository}/blobs/{blob.digest}"] = made[blob.digest]
        return made

    def of(self, **wanted: object) -> list[Recorded]:
        """Return the recorded requests whose attributes all equal `wanted`."""
        return [
            request
            for request in list(self.requests)
            if all(getattr(request, name) == value for name, value in wanted.items())
        ]

    def await_request(self, *, count: int = 1, **wanted: object) -> Recorded:
        """Wait until `count` such requests have come; return the last of them."""
        eventually(lambda: len(self.of(**wanted)) >= count, what=f"{wanted}")
        return self.of(**wanted)[-1]

    def await_taken(self) -> None:
        """Wait until the kernel holds nothing that was sent: whoever asked has read all of it."""
        eventually(lambda: not _bytes_under_way(self.port), what="all is read that was sent")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _bytes_under_way(port: int) -> int:
    """Bytes from a loopback port that are in the queues of either end's socket."""
    sockets = list(tcp_sockets("tcp"))
    unsent = sum(one.unsent for one in sockets if one.port == port)
    return unsent + sum(one.unread for one in sockets if one.peer_port == port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, faults: FaultServer, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults
        self.context = context
        self._open: set[socket.socket] = set()
        self.ended: frozenset[socket.socket] = frozenset()
        """What `end_all` has ended: whatever is still read from there is not answered."""
        self._last: object = None
        """The address of whoever was accepted last."""

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        if self.context:  # the handshake is left to the thread that reads
            sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._open.add(sock)
        self._last = address
        return sock, address

    def end_all(self) -> None:
        """End every connection there is, those included that wait to be accepted."""
        with socket.create_connection(("127.0.0.1", self.server_port)) as newest:
            address = newest.getsockname()
            eventually(lambda: self._last == address, what="all are accepted")
        self.ended = frozenset(self._open)
        self.hang_up()

    def hang_up(self) -> None:
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Close at once: an orderly shutdown would hide a reset."""
        self._open.discard(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: peers that leave in the middle are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    broken = False

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Recorded(self.command, path, query, headers, headers.get("host", ""))
        faults = self.server.faults
        record = faults.requests
        if self.connection in self.server.ended:
            self.close_connection = True
            return
        record.append(request)
        unknown = error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "no such route")
        handler = faults.instead or faults.routes.get(path, unknown)
        handler(Exchange(self, request))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_CONNECT = _answer  # noqa: N815

    def finish(self) -> None:
        if not self.broken:
            super().finish()
            return
        self.rfile.close()  # the writer has no buffer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent; `requests` is the record."""
