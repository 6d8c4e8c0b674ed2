"""Clients that ask for everything at once, leave whenever they like, and verify every byte.

A body counts as whole where HTTP says so: all of its ``Content-Length``, or its last chunk. A
whole body must be the one that was asked for; where it was cut, that must show. What is wrong is
collected in ``problems``; nothing raises.
"""

import hashlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from attack.world import HUB, Thing, World
from rig.client import Answer, Client, ConnectRefusedError, Stream, basic
from rig.images import KIB, OCI_MANIFEST
from rig.multipart import parts_of

BROKEN = (OSError, http.client.HTTPException, ConnectRefusedError)
"""What a client sees of a proxy that is killed, or of a transfer that is cut."""

EVERYTHING: Mapping[str, int] = {
    "cold": 6,
    "warm": 10,
    "part": 3,
    "parts": 2,
    "cold_part": 4,
    "head": 3,
    "leave": 6,
    "manifest": 3,
    "tag": 4,
    "move": 1,
    "push": 1,
    "member": 2,
    "stranger": 2,
}
"""Every action of a client, and how often it is chosen."""

_TOKEN_SECONDS = 10.0
_PAUSE_SECONDS = 0.02


class WrongError(Exception):
    """The proxy did what it must never do."""


class Load:
    """So many clients at once, from ``with`` on to its end.

    Where not ``strict``, the proxy may be killed under it: what breaks off is no problem then.
    """

    def __init__(
        self,
        world: World,
        client: Client,
        *,
        seed: str,
        clients: int,
        actions: Mapping[str, int] = EVERYTHING,
        strict: bool = True,
    ) -> None:
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self._actions = actions
        self._strict = strict
        self._stop = threading.Event()
        visitors = [_Visitor(world, client, f"{seed} {number}") for number in range(clients)]
        self._threads = [threading.Thread(target=self._run, args=(v,)) for v in visitors]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, visitor: "_Visitor") -> None:
        names, weights = list(self._actions), list(self._actions.values())
        while not self._stop.is_set():
            (name,) = visitor.rng.choices(names, weights=weights)
            try:
                getattr(visitor, name)()
            except WrongError as error:
                self.problems.append(f"{name}: {error}")
            except BROKEN as error:
                self.counts["broken"] += 1
                if self._strict:
                    self.problems.append(f"{name}: {error!r}")
                self._stop.wait(_PAUSE_SECONDS)  # nobody may be there
            else:
                self.counts[name] += 1


class _Visitor:
    """One client; each public method is something that it may do."""

    def __init__(self, world: World, client: Client, seed: str) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - an attack is to be repeated
        self._world = world
        self._client = client
        self._name = seed.replace(" ", "-").lower()
        self._pushed = 0
        self._token = ("", 0.0)
        """A token, and until when it is used."""

    def cold(self) -> None:
        """GET what nobody has asked for."""
        self._get(self._world.fresh(self.rng))

    def warm(self) -> None:
        """GET what somebody has probably asked for."""
        self._get(self._world.known(self.rng))

    def part(self) -> None:
        """GET a range, of a blob that is here or growing."""
        self._part(self._world.known(self.rng))

    def cold_part(self) -> None:
        """GET a range of what nobody has asked for, and of it again."""
        thing = self._world.fresh(self.rng)
        for _ in range(2):
            self._part(thing)

    def _part(self, thing: Thing) -> None:
        if thing.wrong:
            return
        first = self.rng.randrange(len(thing.body))
        last = self.rng.randrange(first, len(thing.body))
        answer = self._client.get(thing.url, {"Range": f"bytes={first}-{last}"})
        _check_status(thing.url, answer.status, 206)
        if answer.body != thing.body[first : last + 1]:
            raise WrongError(f"{thing.url}: other bytes in {first}-{last}")

    def parts(self) -> None:
        """GET several ranges, of a blob that is here or growing."""
        thing = self._world.known(self.rng)
        size = len(thing.body)
        if thing.wrong or size < 100:  # else all parts together are more than the whole
            return
        spans = [(at, min(size, at + size // 50 + 1)) for at in self.rng.sample(range(size), 20)]
        asked = ",".join(f"{start}-{stop - 1}" for start, stop in spans)
        answer = self._client.get(thing.url, {"Range": f"bytes={asked}"})
        _check_status(thing.url, answer.status, 206)
        try:
            found = parts_of(answer.headers["Content-Type"], answer.body)
        except AssertionError as error:
            raise WrongError(f"{thing.url}: {error} in {asked}") from None
        if found != [(start, thing.body[start:stop]) for start, stop in spans]:
            raise WrongError(f"{thing.url}: other bytes in {asked}")

    def head(self) -> None:
        """HEAD, of what is here, is being fetched, or is not here."""
        thing = self._world.known(self.rng)
        answer = self._client.head(thing.url)
        _check_status(thing.url, answer.status, 200)
        length = answer.headers["Content-Length"]
        if length is not None and int(length) != len(thing.body):
            raise WrongError(f"{thing.url}: HEAD says {length} bytes, want {len(thing.body)}")

    def leave(self) -> None:
        """Leave at any moment: after CONNECT, before the head, in the body."""
        fresh = self.rng.random() < 0.5
        thing = self._world.fresh(self.rng) if fresh else self._world.known(self.rng)
        moment = self.rng.choice(("connect", "request", "head", "body", "body"))
        if moment == "connect":
            host = thing.url.split("/")[2]
            self._client.connect(host).close()
        elif moment == "request":
            connection = self._client.connection(thing.url)
            connection.request("GET", thing.path)
            _reset(connection.sock)
            connection.close()
        else:
            with self._client.open("GET", thing.url) as stream:
                if moment == "body" and stream.status == 200:
                    stream.read_some(self.rng.randint(1, 64 * KIB))
                if self.rng.random() < 0.5:
                    stream.abort()

    def manifest(self) -> None:
        """GET a manifest by digest, twice: from upstream, and from here."""
        thing = self._world.fresh_manifest(self.rng)
        for _ in range(2):
            answer = self._client.manifest(thing.url)
            _check_status(thing.url, answer.status, 200)
            if answer.body != thing.body:
                raise WrongError(f"{thing.url}: other bytes")

    def tag(self) -> None:
        """GET the tag that moves: what it is now, or was while it moved."""
        world = self._world
        before, want = world.moves, world.version
        answer = self._client.manifest(world.moving)
        _check_status(world.moving, answer.status, 200)
        got = _digest(answer.body)
        stood = world.moves == before and before % 2 == 0
        if got not in ({want} if stood else world.versions):
            raise WrongError(f"{world.moving}: got {got}, want {want}")

    def move(self) -> None:
        """Move the tag, at the registry itself."""
        self._world.move(self.rng)

    def push(self) -> None:
        """Push a blob and a tag through the proxy; then the tag must be what was pushed."""
        self._pushed += 1
        repository = f"{HUB}/v2/attack/pushed"
        body = f"{self._name} {self._pushed} ".encode() * 1000
        started = self._client.request("POST", f"{repository}/blobs/uploads/", body=b"")
        _check_status(repository, started.status, 202)
        place = started.headers["Location"]
        place = place if place.startswith("http") else HUB + place
        url = f"{place}&digest={_digest(body)}"
        plain = {"Content-Type": "application/octet-stream"}
        _check_status(repository, self._client.request("PUT", url, plain, body).status, 201)
        tag = f"{repository}/manifests/{self._name}"
        manifest = _manifest_of(body)
        headers = {"Content-Type": OCI_MANIFEST}
        _check_status(tag, self._client.request("PUT", tag, headers, manifest).status, 201)
        answer = self._client.manifest(tag)
        _check_status(tag, answer.status, 200)
        if answer.body != manifest:
            raise WrongError(f"{tag}: not what was pushed just now")

    def member(self) -> None:
        """GET a private blob as who may have it, with a new token now and then."""
        thing = self._world.private(self.rng)
        token, until = self._token
        if until < time.monotonic():
            try:
                token = self._client.authorization(thing.url, "alice", "wonderland")
            except ValueError as error:  # no token: the exchange was cut
                raise http.client.HTTPException(str(error)) from error
            self._token = (token, time.monotonic() + _TOKEN_SECONDS)
        self._get(thing, {"Authorization": token})

    def stranger(self) -> None:
        """GET a private blob as who may not have it."""
        thing = self._world.private(self.rng)
        headers = {"Authorization": basic("bob", "builder")} if self.rng.random() < 0.5 else {}
        answer = self._client.get(thing.url, headers)
        _check_status(thing.url, answer.status, 401)

    def _get(self, thing: Thing, headers: Mapping[str, str] | None = None) -> None:
        try:
            with self._client.open("GET", thing.url, headers) as stream:
                answer = _whole(stream)
        except BROKEN:
            if not thing.wrong:
                raise
            return
        if thing.wrong and answer.status == 502:
            return
        _check_status(thing.url, answer.status, 200)
        if _digest(answer.body) != thing.digest:
            raise WrongError(f"{thing.url}: a whole body of {_digest(answer.body)}")


def _whole(stream: Stream) -> Answer:
    """The answer with its whole body. Raises where it is cut."""
    chunked = stream.headers["Transfer-Encoding"] == "chunked"
    if not chunked and stream.headers["Content-Length"] is None:
        raise WrongError("an answer that could be cut without a trace")
    return stream.settle()


def _check_status(url: str, got: int, want: int) -> None:
    if got == want:
        return
    if got >= 500:
        raise http.client.HTTPException(f"{url}: {got}")
    raise WrongError(f"{url}: got {got}, want {want}")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _manifest_of(body: bytes) -> bytes:
    descriptor = (
        f'{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{_digest(body)}",'
        f'"size":{len(body)}}}'
    )
    return (
        f'{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{descriptor},"layers":[]}}'
    ).encode()


def _reset(sock: socket.socket) -> None:
    """Let the next close of a socket be a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
