"""The running parts of one bench: the origin, the peers that stand, and those started afresh."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import fetch
from bench.origin import REPOSITORY, Address, Blob, Origin
from bench.peers import KINDS, Peer
from rig.images import KIB, MIB
from rig.process import RigError

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved: bytes of blobs, numbers of requests."""

    blob: int = 1024 * MIB
    shared: int = 128 * MIB
    requests: int = 2000
    connections: int = 200

    @classmethod
    def at_most(cls, blob: int) -> "Sizes":
        """Return sizes for a short run, no blob larger than this."""
        normal = cls()
        return cls(blob, min(blob, normal.shared), 100, 20)


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
        self._folder = folder
        self._numbers = itertools.count()
        self._standing: dict[str, Peer] = {}
        self._blobs: dict[int, Blob] = {}
        self._manifest: Small | None = None
        self._warm: set[tuple[str, str]] = set()

    def start(self) -> None:
        self.origin.start()

    def stop(self) -> None:
        for key, peer in self._standing.items():
            self._end(key, peer)
        self.origin.stop()

    def blob(self, size: int) -> Blob:
        """Return the origin's blob of this size."""
        if size not in self._blobs:
            self._blobs[size] = self.origin.blob(size)
        return self._blobs[size]

    @property
    def manifest(self) -> Small:
        """Return the origin's small manifest."""
        if self._manifest is None:
            image = self.origin.image("small", 64 * KIB, 2)
            path = f"/v2/{REPOSITORY}/manifests/{image.digest}"
            self._manifest = Small(path, len(image.root.body))
        return self._manifest

    def touch(self, peer: Peer) -> None:
        """Ask a peer for the small manifest: what it does at a first request is done then."""
        fetch(peer.way, self.origin.near.url(self.manifest.path), size=self.manifest.size)

    def standing(self, key: str) -> Peer:
        """Return the peer of this kind that runs until the end."""
        if key not in self._standing:
            peer = self._make(key, self.origin.near)
            peer.start()
            self._standing[key] = peer
        return self._standing[key]

    @contextmanager
    def fresh(self, key: str, address: Address) -> Iterator[Peer]:
        """Run a peer with an empty cache."""
        peer = self._make(key, address)
        peer.start()
        try:
            yield peer
        finally:
            self._end(key, peer)
            shutil.rmtree(peer.folder, ignore_errors=True)

    def warm(self, key: str, url: str, size: int) -> Peer:
        """Return a standing peer that answers this GET without asking the origin."""
        peer = self.standing(key)
        if (key, url) not in self._warm:
            for _ in range(_TRIES):
                mark = self.origin.mark()
                fetch(peer.way, url, size=size)
                if not self.gets(mark):
                    break
            else:
                raise RigError(f"{key} does not cache {url}: asked {_TRIES} times")
            self._warm.add((key, url))
        return peer

    def gets(self, mark: int) -> int:
        """Return how many bodies of blobs and manifests the origin was asked for since a mark."""
        seen = self.origin.requests(mark)
        return len(seen.blob_gets) + len(seen.manifest_gets)

    def _make(self, key: str, address: Address) -> Peer:
        folder = self._folder / f"{key}-{next(self._numbers)}"
        return KINDS[key].make(folder, self.origin, address)

    def _end(self, key: str, peer: Peer) -> None:
        self.memory[key] = max(self.memory.get(key, 0), peer.peak_memory())
        peer.stop()
