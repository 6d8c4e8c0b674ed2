"""What a set of registries would answer if there were no cache: the rules, and a real server.

Registries, all at one port and told apart by ``Host``:

- ``one`` serves blobs itself and names their digests;
- ``two`` has the same content and sends its clients on to ``cdn``, which names none;
- ``sso`` stands behind a single sign-on: whom it does not let in gets a login page, with status
  200 or by a redirect within the host or to another;
- ``hid`` hides what is private: a login or token that may not see it is told 404.

While ``away`` is set, all of them fail.
"""

import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle

from entrepot.config.addresses import Resolve
from entrepot.protocol.identifiers import Digest, Origin, Repository
from rig.client import basic

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LOGIN_PAGE = b"<html><title>Sign in</title><form>user, password</form></html>"
REGISTRIES = ("one", "two", "sso", "hid")
_PORT = 80


def origin(registry: str) -> Origin:
    """Where clients reach a registry."""
    return Origin("http", f"{registry}.example.test", _PORT)


def _blob(letter: str, size: int) -> bytes:
    return (f"blob {letter} " * size)[:size].encode()


def _listing(kind: str, *members: bytes) -> bytes:
    entries = [{"digest": str(Digest.of(member)), "size": len(member)} for member in members]
    return json.dumps({"mediaType": MANIFEST_TYPE, kind: entries}).encode()


LARGE = random.Random(11).randbytes(400_000)  # noqa: S311 - the same in each run
"""Large enough that a part of it leaves gaps, and nowhere the same: each byte has one place."""

# Two blobs are of equal length. None is as long as the login page: where a content network names
# no digest, that chance is taken.
BLOBS = (_blob("a", 900), _blob("b", 900), _blob("c", 5000), _blob("d", 70), LARGE)
MANIFESTS = (
    _listing("layers", BLOBS[0], BLOBS[1]),
    _listing("layers", BLOBS[1], BLOBS[2]),
    _listing("layers", BLOBS[3], LARGE),
)
INDEX = _listing("manifests", *MANIFESTS[:2])
CONTENT = {Digest.of(data): data for data in (*BLOBS, *MANIFESTS, INDEX)}
BLOB_DIGESTS = tuple(map(Digest.of, BLOBS))
MANIFEST_DIGESTS = (*map(Digest.of, MANIFESTS), Digest.of(INDEX))
MEMBERS = {
    **{Digest.of(m): [d for d in BLOB_DIGESTS if str(d) in m.decode()] for m in MANIFESTS},
    Digest.of(INDEX): [Digest.of(m) for m in MANIFESTS[:2]],
}


ACCOUNT = "(account)"
"""Stands for a client without a login, for whom the proxy asks as the account ``robot``."""
SIGNED = basic("robot", "secret")
"""What the proxy shows for it, once it is asked."""


@dataclass(slots=True)
class Token:
    """A bearer token for one repository."""

    user: str | None
    scope: Repository
    expires: float
    seen: bool
    """Whether the proxy takes it for what it is; else for a login of which it knows nothing."""
    revoked: bool = False


@dataclass(slots=True)
class Held:
    """A repository: who may read it, and what is in it."""

    public: bool
    readers: set[str]
    objects: set[Digest] = field(default_factory=set)
    tags: dict[str, Digest] = field(default_factory=dict)
    ever: set[Digest] = field(default_factory=set)
    """What it had since a client of the proxy last deleted it."""


class World:
    """The truth: what is where, who may read it, and what the time is."""

    def __init__(self) -> None:
        self.now = 1e9
        self.tokens: dict[str, Token] = {}
        self.repositories: dict[Repository, Held] = {}
        for registry in REGISTRIES:
            where = origin(registry)
            self.repositories[Repository(where, "open/app")] = Held(public=True, readers={"alice"})
            self.repositories[Repository(where, "shut/app")] = Held(
                public=False, readers={"alice", "robot"}
            )

    def may_read(self, header: str | None, repository: Repository) -> bool:
        """Whether this ``Authorization`` opens a repository now."""
        held, user = self.repositories[repository], None
        if header is not None and header.startswith("Bearer "):
            token = self.tokens.get(header.removeprefix("Bearer "))
            if token is None or token.revoked or token.expires <= self.now:
                return False
            if token.scope != repository:
                return False
            user = token.user
        elif header == ACCOUNT:  # a sign-on page asks for no login
            user = "robot" if repository.origin != origin("sso") else None
        elif header == SIGNED:
            user = "robot"
        elif header is not None:
            user = header.removeprefix("Basic ")
            if user not in ("alice", "bob", "robot"):
                return False
        return held.public or user in held.readers

    def gives(self, header: str | None, repository: Repository, digest: Digest) -> bool:
        """Whether a registry gives this object now."""
        return self.may_read(header, repository) and (
            digest in self.repositories[repository].objects
        )

    def covers(self, header: str | None, repository: Repository, digest: Digest) -> bool:
        """Whether it is given, or something that lists it: what counts for the cache."""
        if not self.may_read(header, repository):
            return False
        held = self.repositories[repository]
        if digest in held.objects:
            return True
        return any(digest in _below(one) for one in held.objects)


def _below(digest: Digest) -> Iterator[Digest]:
    for member in MEMBERS.get(digest, ()):
        yield member
        yield from _below(member)


class ReferenceServer:
    """Answers as the world says. ``gate`` holds bodies of blobs back after their first half."""

    def __init__(self) -> None:
        self.world = World()
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        self.away = False
        self.answering = 0
        """How many answers are under way that the gate does not hold back."""
        self.held = 0
        """How many it does."""
        self._counting = threading.Lock()
        self.logins = cycle(("page", "within", "elsewhere"))
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def resolve(self) -> tuple[Resolve, ...]:
        port = self._server.server_port
        hosts = (f"{name}.example.test" for name in (*REGISTRIES, "cdn", "login"))
        return tuple(Resolve(host, _PORT, "127.0.0.1", port) for host in hosts)

    @contextmanager
    def counted(self, *, answering: int, held: int = 0) -> Iterator[None]:
        """Count so many answers more or less, meanwhile."""
        with self._counting:
            self.answering += answering
            self.held += held
        try:
            yield
        finally:
            with self._counting:
                self.answering -= answering
                self.held -= held

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, reference: ReferenceServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reference = reference

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: the proxy leaves in the middle."""


_PATH = re.compile(r"/v2/(.+)/(blobs|manifests)/([^/]+)")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        with self.server.reference.counted(answering=1):
            self._answer_one()

    def _answer_one(self) -> None:
        host = self.headers["Host"].partition(".")[0]
        self.server.reference.asked += 1
        if self.server.reference.away:
            self._send(503, b"", ("Retry-After", "120"))
        elif host == "cdn":
            self._content(Digest.parse(self.path.lstrip("/")), named=False)
        elif host == "login" or self.path == "/sign_in":
            self._send(200, LOGIN_PAGE, ("Content-Type", "text/html"))
        else:
            self._registry(host)

    do_GET = do_HEAD = _answer  # noqa: N815

    def _registry(self, host: str) -> None:
        world = self.server.reference.world
        match = _PATH.fullmatch(self.path)
        if match is None:
            return self._error(404, "NAME_UNKNOWN")
        repository = Repository(origin(host), match[1])
        if not world.may_read(self.headers["Authorization"], repository):
            return self._refuse(host)
        held = world.repositories[repository]
        by_tag = held.tags.get(match[3]) if ":" not in match[3] else None
        digest = by_tag or (Digest.parse(match[3]) if ":" in match[3] else None)
        if digest not in held.objects or (digest in MEMBERS) is not (match[2] == "manifests"):
            return self._error(404, "UNKNOWN")
        if host == "two" and match[2] == "blobs":
            return self._send(307, b"", ("Location", f"http://cdn.example.test/{digest}"))
        return self._content(digest, named=True)

    def _refuse(self, host: str) -> None:
        if host == "hid" and self.headers["Authorization"]:
            return self._error(404, "NAME_UNKNOWN")
        if host != "sso":
            return self._error(401, "UNAUTHORIZED")
        how = next(self.server.reference.logins)
        if how == "page":
            return self._send(200, LOGIN_PAGE, ("Content-Type", "text/html"))
        where = "/sign_in" if how == "within" else "http://login.example.test/sign_in"
        return self._send(302, b"", ("Location", where))

    def _error(self, status: int, code: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code}]}).encode()
        challenge = ("WWW-Authenticate", 'Basic realm="reference"')
        self._send(status, body, *([challenge] if status == 401 else []))

    def _content(self, digest: Digest, *, named: bool) -> None:
        data, status = CONTENT[digest], 200
        fields = [("Content-Type", MANIFEST_TYPE if digest in MEMBERS else "a/blob")]
        if named:
            fields.append(("Docker-Content-Digest", str(digest)))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)|bytes=-(\d+)", self.headers["Range"] or "")
        if wanted and digest not in MEMBERS:
            start = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[3]))
            stop = min(len(data), int(wanted[2] or len(data) - 1) + 1)
            if start >= len(data):
                self._send(416, b"", ("Content-Range", f"bytes */{len(data)}"))
                return
            fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}"))
            data, status = data[start:stop], 206
        self._send(status, data, *fields, slow=digest not in MEMBERS and len(data) > 1)

    def _send(self, status: int, body: bytes, *fields: tuple[str, str], slow: bool = False) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *fields):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        reference = self.server.reference
        if slow and not reference.gate.is_set():
            with reference.counted(answering=-1, held=1):
                reference.gate.wait(60)
        self.wfile.write(body[half:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent."""
