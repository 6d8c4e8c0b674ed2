"""Manifests that clients put: held in memory, and kept at the registry's 201.

A manifest is kept under the type under which it was put, as far as it says that itself. Its tag is
remembered as if somebody had asked for exactly this type: then the first pull by tag asks by HEAD,
whatever it accepts itself.
"""

from collections import OrderedDict

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identifiers import Digest, Tag
from entrepot.protocol.manifests import MAX_SIZE
from entrepot.protocol.messages import Fields, Request, said_digest
from entrepot.push.pending_commits import PendingCommits
from entrepot.push.request_tap import RequestTap
from entrepot.push.upload_protocol import PutManifest, is_plain, manifest_type
from entrepot.storage.store_thread import StoreThread

MOST_IN_MEMORY = 16 * 1024 * 1024


class ManifestPuts:
    """Stores the manifests that registries take in; on one event loop."""

    def __init__(self, store_thread: StoreThread, events: Events, pending: PendingCommits) -> None:
        self._store = store_thread.store
        self._store_thread = store_thread
        self._events = events
        self._pending = pending
        self._bodies = ManifestBodies()

    def put(self, request: Request, step: PutManifest) -> RequestTap:
        """Tap a request that puts a manifest."""
        body = self._bodies.begin()

        def answered(status: int, fields: Fields) -> None:
            content = body.whole()
            body.close()
            if status == 201 and content is not None and is_plain(request):
                self._keep(request, step, content, said_digest(fields))

        return RequestTap(body, answered)

    def _keep(
        self, request: Request, step: PutManifest, content: bytes, said: Digest | None
    ) -> None:
        """Store a manifest that the registry took in, unless one of its names is not its own."""
        repository, reference, store = step.repository, step.reference, self._store
        names = [name for name in (reference, said) if isinstance(name, Digest)]
        digest = Digest.of(content, names[0].algorithm if names else "sha256")
        media_type = manifest_type(request.value("Content-Type") or "", content)
        if media_type is None or any(name != digest for name in names):
            self._events.log(Event.PUSH_UNKEPT, repository=repository, reason="an unusual manifest")
            return

        def keep() -> None:
            kept = store.manifests.put(repository, digest, content, media_type, given_to=None)
            if kept and isinstance(reference, Tag):
                accept = normalise_accept([media_type])
                store.tags.set(repository, reference.name, accept, digest)

        self._pending.start(repository, self._store_thread.run(keep, None))


class ManifestBodies:
    """Manifests under way, ``most`` bytes in all: the one that rested longest makes place."""

    def __init__(self, most: int = MOST_IN_MEMORY) -> None:
        self.size = 0
        """Bytes in memory."""
        self._most = most
        self._open: OrderedDict[ManifestBody, None] = OrderedDict()

    def begin(self) -> "ManifestBody":
        """Begin one."""
        return ManifestBody(self)

    def take(self, body: "ManifestBody", count: int) -> None:
        """Count bytes of a body; where they are too many, others lose theirs."""
        self._open[body] = None
        self._open.move_to_end(body)
        self.size += count
        while self.size > self._most:
            next(iter(self._open)).give_up()

    def give(self, body: "ManifestBody", count: int) -> None:
        """Count a body that has no bytes any more."""
        self._open.pop(body, None)
        self.size -= count


class ManifestBody:
    """A body that must fit into memory."""

    def __init__(self, bodies: ManifestBodies) -> None:
        self._bodies = bodies
        self._parts: list[bytes] = []
        self._size = 0
        self._is_given_up = False

    def add(self, data: bytes) -> None:
        """The next bytes, unless they are too many."""
        if self._size + len(data) > MAX_SIZE:
            self.give_up()
        elif not self._is_given_up:
            self._size += len(data)
            self._parts.append(data)
            self._bodies.take(self, len(data))

    def give_up(self) -> None:
        """Let go of it: it is too large, or others need the place."""
        self._is_given_up = True
        self.close()

    def whole(self) -> bytes | None:
        """The body; None where it was given up."""
        return None if self._is_given_up else b"".join(self._parts)

    def close(self) -> None:
        """Let go of it."""
        self._bodies.give(self, self._size)
        self._parts, self._size = [], 0
