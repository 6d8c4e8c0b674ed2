"""Registries that are broken in one way each: a catalogue of faults, and the servers for them.

`FAULTS` names each fault and says how to spoil a published image with it. Most live on one host;
what concerns the connection itself has a host of its own.
"""

import datetime as dt
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rig.certs import Authority
from rig.faults import Content, Exchange, FaultServer, Handler, first, redirect, status
from rig.images import Image

HOST = "broken.example.test"
EXPIRED, MISNAMED, STRANGER = (f"{n}.example.test" for n in ("expired", "misnamed", "stranger"))
HANDSHAKE, NOWHERE = "handshake.example.test", "nowhere.example.test"
HOSTS = (HOST, EXPIRED, MISNAMED, STRANGER, HANDSHAKE, NOWHERE)

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
_ALL = ("manifest", "config", "layer")
_LONG = 300.0


@dataclass(slots=True)
class Published:
    """An image in a repository of the broken registry, to be spoilt."""

    server: FaultServer
    plain: FaultServer
    repository: str
    image: Image
    contents: dict[str, Content]

    def path(self, part: str) -> str:
        """The path of the manifest (by its tag), the config or the layer."""
        if part == "manifest":
            return f"/v2/{self.repository}/manifests/1"
        blob = self.image.configs[0] if part == "config" else self.image.layers[0]
        return f"/v2/{self.repository}/blobs/{blob.digest}"

    def content(self, part: str) -> Content:
        if part == "manifest":
            return self.contents["1"]
        return self.contents[self.path(part).rpartition("/")[2]]

    def answer(self, part: str, make: Callable[[Content], Handler]) -> None:
        """Answer for a part with something made of its content."""
        handler = make(self.content(part))
        self.server.routes[self.path(part)] = handler
        if part == "manifest":
            by_digest = f"/v2/{self.repository}/manifests/{self.image.digest}"
            self.server.routes[by_digest] = handler

    def asked(self) -> int:
        """How many requests for the image have come."""
        prefix = f"/v2/{self.repository}/"
        return sum(seen.path.startswith(prefix) for seen in list(self.server.requests))


Spoil = Callable[[Published], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to be broken."""

    name: str
    spoil: Spoil
    host: str = HOST
    alone: bool = False
    """Whether it harms a client so that its other pulls would suffer too."""

    @property
    def slug(self) -> str:
        """The name as a part of a repository's."""
        return re.sub("[^a-z0-9]+", "-", self.name.lower()).strip("-")


# How to spoil


def _nothing(_: Published) -> None:
    """Leave all as it is."""


def _knobs(*parts: str, **values: object) -> Spoil:
    def spoil(published: Published) -> None:
        for part in parts:
            for name, value in values.items():
                setattr(published.content(part), name, value)

    return spoil


def _by(make: Callable[[Content], Handler], *parts: str) -> Spoil:
    def spoil(published: Published) -> None:
        for part in parts:
            published.answer(part, make)

    return spoil


def _once(handler: Handler) -> Callable[[Content], Handler]:
    return lambda content: first(1, handler, content)


def _always(handler: Handler) -> Callable[[Content], Handler]:
    return lambda _: handler


def _error(code: int, headers: Mapping[str, str] | None = None) -> Handler:
    body = json.dumps({"errors": [{"code": "BROKEN", "message": f"fault {code}"}]}).encode()
    return status(code, body, {"Content-Type": "application/json", **(headers or {})})


def _reset(exchange: Exchange) -> None:
    exchange.cut()


def _body(change: Callable[[bytes], bytes], **values: object) -> Callable[[Content], Handler]:
    return lambda content: replace(content, body=change(content.body), **values)  # type: ignore[arg-type]


def _flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def _stalls(content: Content) -> Handler:
    """Send half of the body, once, and then nothing."""

    def stall(exchange: Exchange) -> None:
        if exchange.request.method == "HEAD":
            content(exchange)
            return
        exchange.start(200, {"Content-Length": str(len(content.body))})
        exchange.write(content.body[: len(content.body) // 2])
        threading.Event().wait(_LONG)

    return first(1, stall, content)


def _silent(content: Content) -> Handler:
    """Take the request and never answer."""

    def wait(_: Exchange) -> None:
        threading.Event().wait(_LONG)

    del content
    return wait


def _drips(content: Content) -> Handler:
    def drip(exchange: Exchange) -> None:
        if exchange.request.method == "HEAD":
            content(exchange)
            return
        head = {"Content-Type": content.media_type, "Docker-Content-Digest": content.digest or ""}
        exchange.start(200, {"Content-Length": str(len(content.body)), **head})
        step = len(content.body) // 100 + 1
        for start in range(0, len(content.body), step):
            exchange.write(content.body[start : start + step])
            time.sleep(0.02)

    return drip


def _unframed(share: float) -> Callable[[Content], Handler]:
    """Let the connection's end be the body's, after that share of it."""

    def make(content: Content) -> Handler:
        def answer(exchange: Exchange) -> None:
            if exchange.request.method == "HEAD":
                content(exchange)
                return
            exchange.raw(
                f"HTTP/1.1 200 OK\r\nContent-Type: {content.media_type}\r\n"
                f"Docker-Content-Digest: {content.digest}\r\nConnection: close\r\n\r\n".encode()
            )
            exchange.raw(content.body[: int(len(content.body) * share)])
            exchange.cut(reset=False)

        return answer

    return make


def _preceded(interim: bytes) -> Callable[[Content], Handler]:
    def make(content: Content) -> Handler:
        def answer(exchange: Exchange) -> None:
            exchange.raw(interim)
            content(exchange)

        return answer

    return make


def _for_ever(begin: bytes, repeat: bytes, pause: float = 0.0) -> Callable[[Content], Handler]:
    """Begin a head and never end it."""

    def answer(exchange: Exchange) -> None:
        exchange.raw(begin)
        while True:  # until the peer closes
            exchange.raw(repeat)
            time.sleep(pause)

    return _always(answer)


def _hangs_up(content: Content) -> Handler:
    def answer(exchange: Exchange) -> None:
        content(exchange)
        exchange.hang_up()

    return answer


def _to_plain_http(published: Published) -> None:
    path = published.path("layer")
    published.plain.routes[path] = published.content("layer")
    location = f"http://127.0.0.1:{published.plain.port}{path}"
    published.answer("layer", lambda _: redirect(location))


def _to_relative(published: Published) -> None:
    content = published.content("layer")
    published.server.routes[f"/elsewhere/{published.repository}"] = content
    published.answer("layer", lambda _: redirect(f"/elsewhere/{published.repository}"))


def _in_a_circle(published: Published) -> None:
    published.answer("layer", lambda _: redirect(published.path("layer")))


def _many_layers(published: Published) -> None:
    """A manifest of 100,000 layers that nobody has."""
    layer = published.image.layers[0]
    names = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(100_000))
    layers = [{**layer.descriptor, "digest": f"sha256:{name}"} for name in names]
    whole = {**json.loads(published.image.root.body), "layers": layers}
    _other_manifest(published, json.dumps(whole).encode())


def _large_manifest(published: Published) -> None:
    """The same manifest within 100 MB of blanks."""
    _other_manifest(published, published.image.root.body.ljust(100_000_000))


def _other_manifest(published: Published, body: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    content = replace(published.content("manifest"), body=body, digest=digest)
    for name in ("1", digest):
        published.server.routes[f"/v2/{published.repository}/manifests/{name}"] = content


def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


_CODED = {"headers": {"Content-Encoding": "gzip"}}
_OTHER_DIGEST = f"sha256:{hashlib.sha256(b'a lie').hexdigest()}"
_FIELDS = {f"X-Field-{number}": "value" for number in range(10_000)}
_HEAD = b"HTTP/1.1 200 OK\r\n"


def _statuses() -> list[Fault]:
    cases: list[tuple[str, Handler]] = [
        ("429 with Retry-After: 1", _error(429, {"Retry-After": "1"})),
        ("429 without Retry-After", _error(429)),
        ("500", _error(500)),
        ("502", _error(502)),
        ("503", _error(503)),
        ("503 with Retry-After: 1", _error(503, {"Retry-After": "1"})),
        ("504", _error(504)),
        ("reset before the answer", _reset),
    ]
    return [
        Fault(f"{part}: {name}, {often}", _by(how(handler), part))
        for name, handler in cases
        for part in ("manifest", "layer")
        for often, how in (("once", _once), ("always", _always))
    ]


FAULTS: tuple[Fault, ...] = (
    Fault("none", _nothing),
    Fault("manifest: cut, once", _knobs("manifest", cut_after=100, cuts=1)),
    Fault("manifest: cut, always", _knobs("manifest", cut_after=100)),
    Fault("config: cut, once", _knobs("config", cut_after=100, cuts=1)),
    Fault("layer: cut, once", _knobs("layer", cut_after=30_000, cuts=1)),
    Fault("layer: cut, always at the same byte", _knobs("layer", cut_after=0)),
    Fault("layer: cut, once, and 200 for the Range",
          _knobs("layer", cut_after=30_000, cuts=1, ranges=False)),
    Fault("layer: stalls in the middle, once", _by(_stalls, "layer")),
    Fault("layer: drips", _by(_drips, "layer")),
    Fault("manifest: never answered", _by(_silent, "manifest")),
    Fault("layer: never answered", _by(_silent, "layer")),
    Fault("manifest: wrong bytes", _by(_body(_flipped), "manifest")),
    Fault("config: wrong bytes", _by(_body(_flipped), "config")),
    Fault("layer: wrong bytes", _by(_body(_flipped), "layer")),
    Fault("layer: too short", _by(_body(lambda body: body[:-10]), "layer")),
    Fault("layer: too long", _by(_body(lambda body: body + b"more"), "layer")),
    Fault("layer: Content-Length too large", _knobs("layer", length=100_000, cut_after=10**9)),
    Fault("layer: Content-Length too small", _knobs("layer", length=1000)),
    Fault("manifest: Content-Length too small", _knobs("manifest", length=100)),
    Fault("layer: no Content-Length", _by(_unframed(1.0), "layer")),
    Fault("layer: no Content-Length, and cut", _by(_unframed(0.5), "layer")),
    Fault("manifest: no Content-Length", _by(_unframed(1.0), "manifest")),
    Fault("manifest: no Content-Length, and cut", _by(_unframed(0.5), "manifest")),
    Fault("all: chunked", _knobs(*_ALL, chunked=True)),
    Fault("manifest: no Docker-Content-Digest", _knobs("manifest", digest=None)),
    Fault("manifest: lying Docker-Content-Digest", _knobs("manifest", digest=_OTHER_DIGEST)),
    Fault("layer: lying Docker-Content-Digest", _knobs("layer", digest=_OTHER_DIGEST)),
    *_statuses(),
    Fault("all: 100 first", _by(_preceded(b"HTTP/1.1 100 Continue\r\n\r\n"), *_ALL)),
    Fault("all: 102 first", _by(_preceded(b"HTTP/1.1 102 Processing\r\n\r\n"), *_ALL)),
    Fault("all: 103 first", _by(_preceded(HINTS), *_ALL)),
    Fault("manifest: 103 for ever", _by(_for_ever(b"", HINTS), "manifest")),
    Fault("layer: 100 for ever",
          _by(_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "layer")),
    Fault("layer: header fields for ever", _by(_for_ever(_HEAD, b"X-Field: y\r\n"), "layer")),
    Fault("layer: a header field for ever",
          _by(_for_ever(_HEAD + b"X-Field: ", b"y" * 1000), "layer")),
    Fault("layer: a head that drips for ever",
          _by(_for_ever(_HEAD + b"X-Field: ", b"y", 0.5), "layer")),
    Fault("layer: a header field of 1 MiB", _knobs("layer", headers={"X-Field": "y" * 2**20})),
    Fault("layer: 10,000 header fields", _knobs("layer", headers=_FIELDS)),
    Fault("manifest: a header field of 1 MiB",
          _knobs("manifest", headers={"X-Field": "y" * 2**20})),
    Fault("manifest: of 100 MB", _large_manifest),
    Fault("manifest: gzip-encoded", _by(_body(_zipped, **_CODED), "manifest")),
    Fault("config: gzip-encoded", _by(_body(_zipped, **_CODED), "config")),
    Fault("layer: gzip-encoded", _by(_body(_zipped, **_CODED), "layer")),
    Fault("layer: marked as gzip-encoded, but not", _knobs("layer", **_CODED)),
    Fault("all: Set-Cookie", _knobs(*_ALL, headers={"Set-Cookie": "session=1"})),
    Fault("layer: redirected to itself", _in_a_circle),
    Fault("layer: redirected by a relative Location", _to_relative),
    Fault("layer: redirected to plain http", _to_plain_http),
    *(
        Fault(f"all: HEAD refused with {code}", _knobs(*_ALL, head_status=code))
        for code in (401, 403, 405, 501)
    ),
    Fault("all: connections closed unannounced", _by(_hangs_up, *_ALL)),
    Fault("TLS: an expired certificate", _nothing, EXPIRED),
    Fault("TLS: another name's certificate", _nothing, MISNAMED),
    Fault("TLS: an unknown authority", _nothing, STRANGER),
    Fault("TLS: cut in the handshake", _nothing, HANDSHAKE),
    Fault("DNS: a name that does not resolve", _nothing, NOWHERE),
    # dockerd 20.10 answers nobody else while it makes its plans for all of them, and may crash.
    Fault("manifest: of 100,000 layers", _many_layers, alone=True),
)  # fmt: skip


class BrokenRegistries:
    """The servers behind HOSTS; `resolve` leads to all of them but NOWHERE."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        expired = authority.issue(EXPIRED, life=dt.timedelta(days=-1)).server_context()
        misnamed = authority.issue("somebody-else.example.test").server_context()
        stranger = Authority(folder / "stranger", "Nobody knows this CA")
        self._servers = {
            HOST: FaultServer(authority, HOST),
            EXPIRED: FaultServer(None, EXPIRED, context=expired),
            MISNAMED: FaultServer(None, MISNAMED, context=misnamed),
            STRANGER: FaultServer(stranger, STRANGER),
        }
        self._plain = FaultServer(None)
        self._cutter = _HandshakeCutter()

    @property
    def resolve(self) -> list[str]:
        """HOST:PORT:ADDRESS:PORT, as `entrepot serve --resolve` takes it."""
        found = [line for server in self._servers.values() for line in server.resolve]
        return [*found, f"{HANDSHAKE}:443:127.0.0.1:{self._cutter.port}"]

    def publish(self, image: Image, repository: str, fault: Fault) -> Published:
        """Put a spoilt image, tagged 1, on the fault's host."""
        server = self._servers.get(fault.host, self._servers[HOST])
        contents = server.publish(image, repository, "1")
        published = Published(server, self._plain, repository, image, contents)
        fault.spoil(published)
        return published

    def mend(self, published: Published) -> None:
        """Serve the image as it should be."""
        published.server.publish(published.image, published.repository, "1")

    def stop(self) -> None:
        for server in (*self._servers.values(), self._plain):
            server.stop()
        self._cutter.stop()


class _HandshakeCutter:
    """Resets each connection as soon as the client has said hello."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.recv(1)
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
