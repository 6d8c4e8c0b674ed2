"""A registry with a token server and a content network, each of which can go wrong by itself.

As Docker Hub: even who is anonymous needs a token. `public/*` is anybody's, `private/*` alice's;
blobs are redirected to the content network. `FAULTS` is every way in which one of them is away.
"""

import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rig.certs import Authority
from rig.client import basic
from rig.faults import Content, Exchange, FaultServer, Handler, error, redirect, status
from rig.images import Image
from rig.isolated import Network
from rig.process import eventually
from rig.proxy import Entrepot

REGISTRY, TOKENS, CDN = "registry.example.test", "auth.example.test", "cdn.example.test"
ALICE = basic("alice", "wonderland")
LIMIT_TEXT = "You have reached your pull rate limit"
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


class Away:
    """The three servers, in a network of their own, and a proxy in front of them."""

    def __init__(self, folder: Path, *, answer_timeout: str = "5s") -> None:
        self.network = Network(folder, REGISTRY, TOKENS, CDN)
        self.authority = Authority(folder / "ca")
        self.registry, self.tokens, self.cdn = (
            FaultServer(self.authority, name) for name in (REGISTRY, TOKENS, CDN)
        )
        self._accounts: dict[str, str] = {}
        self.registry.routes["/v2/"] = self._guarded("", status(200, b"{}", _VERSION))
        self.tokens.routes["/token"] = self._token
        self.entrepot = Entrepot(
            folder / "entrepot",
            {
                "upstream_ca": str(self.authority.pem),
                "answer_timeout": answer_timeout,
                "registry": [CDN],  # a name here leads to loopback, where no redirect else may
            },
        )

    @property
    def base(self) -> str:
        return f"https://{REGISTRY}:{self.registry.port}/v2/"

    @property
    def servers(self) -> tuple[FaultServer, FaultServer, FaultServer]:
        return self.registry, self.tokens, self.cdn

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    def __enter__(self) -> Self:
        self.entrepot.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.entrepot.kill9()
        for server in self.servers:
            server.stop()

    def publish(self, image: Image, repository: str) -> dict[str, Content]:
        """Serve an image as tag 1; return its blobs' handlers by digest, to spoil."""
        blobs = {}
        for manifest in image.manifests:
            served = Content(manifest.body, manifest.media_type, manifest.digest)
            for name in ("1", manifest.digest) if manifest is image.root else (manifest.digest,):
                path = f"/v2/{repository}/manifests/{name}"
                self.registry.routes[path] = self._guarded(repository, served)
        for blob in image.blobs:
            path = f"/v2/{repository}/blobs/{blob.digest}"
            there = f"https://{CDN}:{self.cdn.port}/{blob.digest}"
            self.registry.routes[path] = self._guarded(repository, redirect(there))
            blobs[blob.digest] = Content(blob.read())
            self.cdn.routes[f"/{blob.digest}"] = blobs[blob.digest]
        uploads = f"/v2/{repository}/blobs/uploads/"
        begun = status(202, b"", {"Location": f"{uploads}1"})
        self.registry.routes[uploads] = self._guarded(repository, begun)
        return blobs

    def _guarded(self, repository: str, handler: Handler) -> Handler:
        realm = f"https://{TOKENS}:{self.tokens.port}/token"
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="rig"{scope}'}

        def answer(exchange: Exchange) -> None:
            shown = (exchange.request.authorization or "").removeprefix("Bearer ")
            account = self._accounts.get(shown)
            wanted = exchange.request.method == "POST" or repository.startswith("private/")
            if account is None or (wanted and account != "alice"):
                refused = error(401, "UNAUTHORIZED", "authentication required", challenge)
                refused(exchange)
            else:
                handler(exchange)

        return answer

    def _token(self, exchange: Exchange) -> None:
        token = secrets.token_hex(8)
        self._accounts[token] = "alice" if exchange.request.authorization == ALICE else "anybody"
        exchange.send(200, json.dumps({"token": token, "expires_in": 300}).encode())


Begin = Callable[[Away], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A name for people, and what makes it so while its block runs."""

    name: str
    begin: Begin


def _answering(handler: Handler, server: int = 0) -> Begin:
    """One of the servers answers everything so."""

    @contextmanager
    def begin(away: Away) -> Iterator[None]:
        away.servers[server].instead = handler
        yield
        away.servers[server].instead = None

    return begin


@contextmanager
def _without_names(away: Away) -> Iterator[None]:
    """Open connections are ended, since only new ones need a name."""
    away.network.forget_names()
    for server in away.servers:
        server.hang_up()
    yield
    away.network.know_names()


@contextmanager
def _silent_resolver(away: Away) -> Iterator[None]:
    with away.network.dropping(53), _without_names(away):
        yield


@contextmanager
def _wrong_certificate(away: Away) -> Iterator[None]:
    other = away.authority.issue("other.example.test").server_context()
    for server in away.servers:
        _show(server, other)
    yield
    for server, name in zip(away.servers, (REGISTRY, TOKENS, CDN), strict=True):
        _show(server, away.authority.issue(name).server_context())


def _show(server: FaultServer, context: ssl.SSLContext) -> None:
    server.show(context)
    server.hang_up()


def _drip(exchange: Exchange) -> None:
    """A byte of the head every half second: no deadline between two bytes ever passes."""
    ended = threading.Event()
    try:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + b"X-Slow: 1\r\n" * 20:
            exchange.raw(bytes([byte]))
            ended.wait(0.5)
    except OSError:
        pass
    exchange.cut()


@contextmanager
def _dies_in_a_blob(away: Away) -> Iterator[None]:
    """All three die when half a blob has been sent, and are back two seconds later."""
    over = threading.Event()

    def die() -> None:
        eventually(
            lambda: over.is_set() or any(r.sent for r in away.cdn.requests),
            what="a blob",
        )
        if not over.is_set():
            with away.network.refusing(*away.ports):
                over.wait(2)

    for path, content in away.cdn.routes.items():
        if isinstance(content, Content) and path.startswith("/sha256:"):
            content.cut_after, content.cuts = len(content.body) // 2, 1
    away.cdn.requests.clear()
    killer = threading.Thread(target=die)
    killer.start()
    yield
    over.set()
    killer.join()


FAULTS = (
    Fault("none", lambda _: ExitStack()),
    Fault("refused", lambda away: away.network.refusing(*away.ports)),
    Fault("packets dropped", lambda away: away.network.dropping(*away.ports)),
    Fault("no such name", _without_names),
    Fault("resolver's packets dropped", _silent_resolver),
    Fault("wrong certificate", _wrong_certificate),
    Fault("reset", _answering(lambda exchange: exchange.cut(reset=True))),
    Fault("500", _answering(error(500, "UNKNOWN", "broken"))),
    Fault("503, Retry-After: 120", _answering(error(503, "BUSY", "wait", {"Retry-After": "120"}))),
    Fault("429", _answering(error(429, "TOOMANYREQUESTS", LIMIT_TEXT))),
    Fault(
        "429, Retry-After: 120",
        _answering(error(429, "TOOMANYREQUESTS", LIMIT_TEXT, {"Retry-After": "120"})),
    ),
    Fault("head drips", _answering(_drip)),
    Fault("token server: refused", lambda away: away.network.refusing(away.tokens.port)),
    Fault("token server: dropped", lambda away: away.network.dropping(away.tokens.port)),
    Fault("token server: 503", _answering(status(503), 1)),
    Fault("token server: 429", _answering(status(429), 1)),
    Fault("content network: refused", lambda away: away.network.refusing(away.cdn.port)),
    Fault("content network: dropped", lambda away: away.network.dropping(away.cdn.port)),
    Fault("dies in a blob, back in 2 s", _dies_in_a_blob),
)
