"""The running parts of one bench: the origin, the peers that stand, and those started afresh."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.engine import Engine
from bench.grown import FEW, MANY, Made, Scale, grow
from bench.load import Way, fetch
from bench.origin import REPOSITORY, Address, Blob, Origin
from bench.peers import KINDS, Peer
from entrepot.protocol.identifiers import Origin as Registry
from rig.disk import overlay_works
from rig.images import KIB, MIB
from rig.process import RigError

BIG, MANY_LAYERS = "big", "layers"  # tags of the images that engines pull
_TRIES = 20
P = TypeVar("P", bound=Peer)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved: bytes, numbers of requests, and at most so many clients at once."""

    blob: int = 1024 * MIB
    for_eight: int = 128 * MIB
    for_many: int = 32 * MIB
    throttled: int = 256 * MIB
    lazy: int = 80 * MIB
    spans: int = 160 * MIB
    chunked: int = 59_000 * KIB
    image: int = 300 * MIB
    requests: int = 2000
    connections: int = 200
    clients: int = 50
    records: int = 1_000_000
    few: Scale = FEW
    many: Scale = MANY

    @classmethod
    def at_most(cls, most: int) -> "Sizes":
        """Return sizes for a short run, nothing larger than this."""
        all_ = cls()
        return cls(
            blob=most,
            for_eight=min(most, all_.for_eight),
            for_many=min(most, all_.for_many),
            throttled=min(most, all_.throttled),
            lazy=min(most, all_.lazy),
            spans=min(most, all_.spans),
            chunked=min(most, all_.chunked),
            image=min(most, all_.image),
            requests=200,
            connections=20,
            clients=5,
            records=10_000,
            few=Scale(200, 200, 200),
            many=Scale(1_000, 500, 400),
        )


@dataclass(frozen=True, slots=True)
class Small:
    """A manifest by its digest."""

    path: str
    size: int


class Stage:
    """Starts what is asked for, and remembers what each kind of peer cost in memory."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self.origin = Origin(folder / "origin")
        self.memory: dict[str, int] = {}
        self.folder = folder
        self._numbers = itertools.count()
        self._standing: dict[tuple[str, Address, bool], Peer] = {}
        self._engines: dict[tuple[str, Address], Engine] = {}
        self._blobs: dict[int, Blob] = {}
        self._warm: set[tuple[str, str]] = set()
        self._pulled: set[tuple[Engine, str]] = set()
        self._grown: dict[Scale, list[Made]] = {}

    def start(self, *, engines: bool) -> None:
        """Start the origin; with `engines` it has the images that they pull."""
        self.origin.start()
        image = self.origin.image("small", 64 * KIB, 2)
        path = f"/v2/{REPOSITORY}/manifests/{image.digest}"
        self.manifest = Small(path, len(image.root.body))
        if engines:
            self.origin.image(BIG, self.sizes.image, 5)
            self.origin.image(MANY_LAYERS, 2 * MIB, 8, far=True)
            overlay = overlay_works(self.folder / "overlay")
            self._driver = "overlay2" if overlay else "vfs"

    def stop(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.origin.stop)
            for (key, _, _), peer in self._standing.items():
                stack.callback(self._end, key, peer)
            for engine in self._engines.values():
                stack.callback(engine.stop)

    def blob(self, size: int) -> Blob:
        """Return the origin's blob of this size."""
        if size not in self._blobs:
            self._blobs[size] = self.origin.blob(size)
        return self._blobs[size]

    def grown(self, scale: Scale) -> tuple[Path, list[Made]]:
        """Return a folder in which there is a data folder of this scale, and what that holds."""
        folder = self.folder / f"grown-{scale.blobs}"
        if scale not in self._grown:
            registry = Registry("https", self.origin.near.registry, self.origin.near.port)
            self._grown[scale] = grow(folder / "data", registry, scale)
        return folder, self._grown[scale]

    @contextmanager
    def kept(self, key: str, peer: P) -> Iterator[P]:
        """End a peer that is started meanwhile, and whose folder stays."""
        try:
            yield peer
        finally:
            self._end(key, peer)

    def touch(self, peer: Peer, address: Address) -> None:
        """Ask a peer for the small manifest: what it does at a first request is done then."""
        fetch(peer.way, address.url(self.manifest.path), size=self.manifest.size)

    def standing(self, key: str, address: Address | None = None, *, plain: bool = False) -> Peer:
        """Return the peer of this kind that runs until the end; `plain`: over plain HTTP."""
        address = address or self.origin.near
        if (key, address, plain) not in self._standing:
            kind = KINDS[key]
            peer = self._made(key, kind.plain if plain and kind.plain else kind.make, address)
            self._standing[key, address, plain] = peer
            peer.start()
        return self._standing[key, address, plain]

    @contextmanager
    def fresh(self, key: str, address: Address) -> Iterator[Peer]:
        """Run a peer with an empty cache."""
        with self.running(key, KINDS[key].make, address) as peer:
            yield peer

    @contextmanager
    def running(
        self, key: str, make: Callable[[Path, Origin, Address], P], address: Address
    ) -> Iterator[P]:
        """The same with a peer of this kind that is made in a way of its own."""
        peer = self._made(key, make, address)
        try:
            peer.start()
            yield peer
        finally:
            self._end(key, peer)
            shutil.rmtree(peer.folder, ignore_errors=True)

    def warm(self, key: str, url: str, size: int, *, plain: bool = False) -> Peer:
        """Return a standing peer that answers this GET without asking the origin."""
        peer = self.standing(key, plain=plain)
        if (key, url) not in self._warm:
            self.heat(peer, url, size)
            self._warm.add((key, url))
        return peer

    def heat(self, peer: Peer, url: str, size: int) -> None:
        """Ask a peer until it answers this GET without asking the origin."""
        for _ in range(_TRIES):
            mark = self.origin.mark()
            fetch(peer.way, url, size=size)
            if not self.gets(mark):
                return
        raise RigError(f"{peer.folder.name} does not cache {url}: asked {_TRIES} times")

    def engine(self, key: str, address: Address) -> Engine:
        """Return the docker that pulls through a standing peer."""
        if (key, address) not in self._engines:
            engine = self._docker(self.standing(key, address).way, address)
            self._engines[key, address] = engine
            engine.start()
        return self._engines[key, address]

    @contextmanager
    def fresh_engine(self, way: Way, address: Address) -> Iterator[Engine]:
        """Run a docker that pulls by this way."""
        engine = self._docker(way, address)
        try:
            engine.start()
            yield engine
        finally:
            engine.stop()

    def _docker(self, way: Way, address: Address) -> Engine:
        folder = self.folder / f"docker-{next(self._numbers)}"
        return Engine(folder, way, address, self.origin, self._driver)

    def warm_engine(self, engine: Engine, tag: str) -> None:
        """Let an engine pull once, so that its peer has everything."""
        if (engine, tag) not in self._pulled:
            engine.pull(tag)
            self._pulled.add((engine, tag))

    def gets(self, mark: int) -> int:
        """Return how many bodies of blobs and manifests the origin was asked for since a mark."""
        seen = self.origin.requests(mark)
        return len(seen.blob_gets) + len(seen.manifest_gets)

    def _made(self, key: str, make: Callable[[Path, Origin, Address], P], address: Address) -> P:
        folder = self.folder / f"{key}-{next(self._numbers)}"
        return make(folder, self.origin, address)

    def _end(self, key: str, peer: Peer) -> None:
        self.memory[key] = max(self.memory.get(key, 0), peer.peak_memory())
        peer.stop()
