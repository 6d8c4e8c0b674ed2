"""What the attacks ask for: content of every kind, at upstreams of every temper.

The fault server has blobs that come plain, chunked, in drops, late, cut off again and again, or
with other bytes than their digest names. The real registries have images: a hub that redirects
its blobs to a content network, with a tag that moves, and private ones behind tokens.
"""

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rig.faults import Content, Exchange, FaultServer, Gate, Handler
from rig.images import KIB, MIB, OCI_MANIFEST, ImageFactory, incompressible
from rig.upstreams import Upstreams

FAULT = "https://fault.example.test"
HUB = "https://hub.example.test"
TOKENS = "https://registry.example.test"

REGISTRIES = [url.removeprefix("https://") for url in (FAULT, HUB, TOKENS)]
"""For ``--registry``: a probe on a machine that is too busy would say no."""

Temper = Literal["plain", "chunked", "cut", "dripping", "late", "wrong"]
_TEMPERS: dict[Temper, int] = {
    "plain": 6,
    "chunked": 2,
    "cut": 2,
    "dripping": 2,
    "late": 1,
    "wrong": 1,
}
_SIZES = (8, 1000, 40 * KIB, 300 * KIB, 900 * KIB, 3 * MIB)
"""None so small that two blobs are one."""
_DROP_SECONDS = 0.02
_LATE_SECONDS = 0.2
_MANIFESTS = 200


@dataclass(frozen=True, slots=True)
class Thing:
    """A blob or a manifest that some upstream has; ``wrong`` where it sends other bytes."""

    url: str
    body: bytes
    digest: str
    wrong: bool = False
    private: bool = False

    @property
    def path(self) -> str:
        return "/" + self.url.split("/", 3)[3]


class World:
    """All upstream content of one attack. Any thread may ask; ``keep`` bounds it."""

    def __init__(
        self, upstreams: Upstreams, faults: FaultServer, images: ImageFactory, seed: str
    ) -> None:
        self.faults = faults
        self._upstreams = upstreams
        self._seed = seed
        self._lock = threading.Lock()
        self._mover = threading.Lock()
        self._count = 0
        self._fresh: dict[str, Thing] = {}
        self._manifests: list[Thing] = []
        versions = [images.image(f"attack {n}", (300 * KIB, 80 * KIB)) for n in range(4)]
        for number, image in enumerate(versions):
            upstreams.push(image, f"hub.example.test/attack/app:{number}")
        private = images.image("attack private", (200 * KIB,))
        upstreams.push(private, "registry.example.test/attack/private:1")
        self._versions = versions
        self._settled = [
            Thing(f"{HUB}/v2/attack/app/blobs/{blob.digest}", blob.read(), blob.digest)
            for image in versions
            for blob in image.blobs
        ]
        self._private = [
            Thing(
                f"{TOKENS}/v2/attack/private/blobs/{blob.digest}",
                blob.read(),
                blob.digest,
                private=True,
            )
            for blob in private.blobs
        ]
        self.moves = 0
        """Odd while the tag is being moved."""
        self.version = ""
        """What it is, where ``moves`` is even."""
        self.move(random.Random(seed))  # noqa: S311 - an attack is to be repeated

    # The fault server's

    def fresh(self, rng: random.Random) -> Thing:
        """Make a blob that nobody ever asked for."""
        (temper,) = rng.choices(list(_TEMPERS), weights=list(_TEMPERS.values()))
        name = self._name()
        body = b"".join(incompressible(name, rng.choice(_SIZES)))
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        path = f"/v2/attack/blobs/{digest}"
        return self._add(Thing(FAULT + path, body, digest, temper == "wrong"), temper, rng)

    def fresh_manifest(self, rng: random.Random) -> Thing:
        """Make a manifest that nobody ever asked for; a large one becomes a file in the store."""
        padding = "x" * rng.choice((0, 100 * KIB))
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}
        body = json.dumps({**document, "annotations": {self._name(): padding}}).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        thing = Thing(f"{FAULT}/v2/attack/manifests/{digest}", body, digest)
        self.faults.routes[thing.path] = Content(body, OCI_MANIFEST, digest)
        with self._lock:
            self._manifests.append(thing)
        return thing

    def _name(self) -> str:
        with self._lock:
            self._count += 1
            return f"{self._seed} {self._count}"

    def _add(self, thing: Thing, temper: Temper, rng: random.Random) -> Thing:
        handler = Content(thing.body, digest=thing.digest, chunked=temper == "chunked")
        if temper == "cut":
            handler.cuts, handler.cut_after = rng.randint(1, 3), len(thing.body) // 4
            handler.reset = rng.random() < 0.5
        elif temper == "dripping":
            handler.gate = _Drops()
        elif temper == "wrong":
            handler.body = thing.body[:-1] + bytes([thing.body[-1] ^ 1])
        self.faults.routes[thing.path] = _late(handler) if temper == "late" else handler
        with self._lock:
            self._fresh[thing.digest] = thing
        return thing

    def keep(self, wanted: Callable[[Thing], bool]) -> None:
        """Forget what is not wanted any more of the fault server's content."""
        with self._lock:
            gone = [thing for thing in self._fresh.values() if not wanted(thing)]
            for thing in gone:
                del self._fresh[thing.digest]
            gone += self._manifests[:-_MANIFESTS]
            del self._manifests[:-_MANIFESTS]
        for thing in gone:
            self.faults.routes.pop(thing.path, None)
        self.faults.requests = []

    def keep_newest(self, count: int) -> None:
        """Forget all but the newest ``count`` blobs of the fault server."""
        with self._lock:
            newest = set(list(self._fresh)[-count:])
        self.keep(lambda thing: thing.digest in newest)

    def find(self, digest: str) -> Thing | None:
        """The fault server's blob with a digest."""
        with self._lock:
            return self._fresh.get(digest)

    # What others may have asked for before

    def known(self, rng: random.Random) -> Thing:
        """A blob that was probably asked for before, of one upstream or another."""
        with self._lock:
            newest = list(self._fresh.values())[-24:]
        return rng.choice([*newest, *self._settled])

    def private(self, rng: random.Random) -> Thing:
        """A blob that only alice may have."""
        return rng.choice(self._private)

    # The tag that moves

    @property
    def moving(self) -> str:
        """The URL of its manifest."""
        return f"{HUB}/v2/attack/app/manifests/moving"

    @property
    def versions(self) -> set[str]:
        """All that it ever is."""
        return {image.digest for image in self._versions}

    def move(self, rng: random.Random) -> None:
        """Let it be another image, unless somebody is just doing so."""
        image = rng.choice(self._versions)
        if not self._mover.acquire(blocking=False):
            return
        try:
            self.moves += 1
            self._upstreams.push(image, "hub.example.test/attack/app:moving")
            self.version = image.digest
            self.moves += 1
        finally:
            self._mover.release()


class _Drops(Gate):
    """Lets a body through in drops: readers wait on a growing file."""

    def take(self, most: int) -> int:
        time.sleep(_DROP_SECONDS)
        return most


def _late(handler: Content) -> Handler:
    """Think before each answer, so that clients leave before there is one."""

    def think(exchange: Exchange) -> None:
        time.sleep(_LATE_SECONDS)
        handler(exchange)

    return think
