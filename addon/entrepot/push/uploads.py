"""Blobs that clients upload, kept so that the first pull is a hit.

The bytes of an upload pass on their way to the registry, and go into a draft too (``drafts``).
Only the registry's 201 to the last request makes a blob of them, and only if they hash to the
digest that it was asked to store: so whatever went another way (a part that did not pass here,
came twice or was refused, two clients at one upload, a restart in between) comes out as other
bytes or as none, and is not kept.

To a mount the client shows no bytes: that the repository has the blob counts there only as any
word of a registry does (``Store.confirm``).
"""

import asyncio
from dataclasses import dataclass
from functools import partial as bind

from entrepot.bounded_map import BoundedMap
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Fields, Request, field_values, said_digest
from entrepot.push.draft_files import Draft, Drafts
from entrepot.push.pending import Keeping
from entrepot.push.request_tap import Watched
from entrepot.push.upload_protocol import Begin, Go, Place, is_plain
from entrepot.upstream.context import Context

_BYTES = "application/octet-stream"
_MOST_OPEN = 256
_ELSEWHERE = "parts of it did not pass here"
_CODED = "its body came in a coding"
_NO_STORE = "the store does not work"
_NO_ROOM = "there is no room for it"


@dataclass(eq=False, slots=True)
class _Upload:
    """An unfinished upload between two of its requests."""

    repository: Repository
    draft: Draft
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Pushed:
    """A whole upload that is being stored."""

    repository: Repository
    digest: Digest
    draft: Draft
    deleted: bool = False
    """Whether a client deleted the blob meanwhile."""


class Uploads:
    """Belongs to one event loop."""

    def __init__(
        self, context: Context, drafts: Drafts, keeping: Keeping, idle_seconds: float
    ) -> None:
        """``idle_seconds`` is how long an upload may rest between two of its requests."""
        self._idle_seconds = idle_seconds
        self._context = context
        self._drafts = drafts
        self._keeping = keeping
        self._open: BoundedMap[Place, _Upload] = BoundedMap(_MOST_OPEN)
        self._pushed: set[_Pushed] = set()

    def begin(self, request: Request, step: Begin, size: int | None) -> Watched:
        """Watch the request that begins an upload, or is all of it."""
        draft = self._draft(request, self._drafts.begin(), size)

        def answered(status: int, fields: Fields) -> None:
            if status == 201 and step.digest is not None:
                self._keep(step.repository, step.digest, draft)
                return
            draft.close()
            if status == 201 and step.mount is not None:
                self._mounted(step.repository, step.mount, fields)
            elif status == 202:
                self._goes_on(request, fields, _Upload(step.repository, self._drafts.begin()))

        return Watched(draft, answered)

    def go_on(self, request: Request, step: Go, size: int | None) -> Watched | None:
        """Watch a further request; None where the upload is not known here."""
        upload = self._open.pop(step.place)  # while one request is at it, no other is
        if upload is None:
            return None
        if upload.timer is not None:
            upload.timer.cancel()
        draft = self._draft(request, upload.draft, size)
        if step.first not in (None, draft.size):
            draft.give_up(_ELSEWHERE)

        def answered(status: int, fields: Fields) -> None:
            if request.method == "PUT" and status == 201 and step.digest is not None:
                self._keep(upload.repository, step.digest, draft)
            elif request.method in ("GET", "HEAD", "PATCH") and 200 <= status < 300:
                self._goes_on(request, fields, upload)
            else:
                draft.close()

        return Watched(draft, answered)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Let a blob that is being stored not speak for a repository that has it no more."""
        for pushed in self._pushed:
            if (pushed.repository, pushed.digest) == (repository, digest):
                pushed.deleted = True

    def stop(self) -> None:
        """Drop what is unfinished."""
        for upload in self._open.values():
            self._drop(upload)
        self._open.clear()

    def _draft(self, request: Request, draft: Draft, size: int | None) -> Draft:
        """``draft``, ready for the body of a request."""
        if not is_plain(request):
            draft.give_up(_CODED)
        if size is not None:
            draft.expect(size)
        return draft

    def _goes_on(self, request: Request, fields: Fields, upload: _Upload) -> None:
        """Wait for an upload's next request, where the registry says it is to come."""
        location = field_values(fields, "Location")
        place = Place.after(request, location[0] if location else request.target)
        if place is None:
            upload.draft.close()
            return
        if (other := self._open.pop(place)) is not None:
            self._drop(other)
        loop = asyncio.get_running_loop()
        upload.draft.hand_over()  # it may rest for long
        upload.timer = loop.call_later(self._idle_seconds, self._expired, place, upload)
        if (oldest := self._open.put(place, upload)) is not None:
            self._drop(oldest)

    def _expired(self, place: Place, upload: _Upload) -> None:
        if self._open.get(place) is upload:
            self._open.pop(place)
            self._drop(upload)

    def _drop(self, upload: _Upload) -> None:
        if upload.timer is not None:
            upload.timer.cancel()
        upload.draft.close()

    # Storing

    def _keep(self, repository: Repository, digest: Digest, draft: Draft) -> None:
        pushed = _Pushed(repository, digest, draft)
        self._pushed.add(pushed)
        self._keeping.start((repository.origin, digest), self._store(pushed))

    async def _store(self, pushed: _Pushed) -> None:
        context, draft, problem = self._context, pushed.draft, None
        try:
            problem = await draft.settle(pushed.digest)
            if problem is None and not pushed.deleted:
                problem = await context.store_thread.run(
                    bind(self._commit, pushed), otherwise=_NO_STORE
                )
        finally:
            draft.close()
            self._pushed.discard(pushed)
        repository, digest, events = pushed.repository, pushed.digest, context.events
        if problem is not None:
            events.log(Event.PUSH_UNKEPT, digest=digest, repository=repository, reason=problem)
        elif not pushed.deleted:
            size = draft.size
            events.log(
                Event.BLOB_STORED, digest=digest, size=size, repository=repository, cause="push"
            )

    def _commit(self, pushed: _Pushed) -> str | None:
        """Store a verified draft, on the store's thread; why not."""
        path, store = pushed.draft.path, self._context.store
        if path is None:
            return pushed.draft.problem
        kept = store.blobs.commit_draft(path, pushed.repository, pushed.digest, _BYTES)
        return None if kept else _NO_ROOM

    def _mounted(self, repository: Repository, digest: Digest, fields: Fields) -> None:
        if said_digest(fields) in (None, digest):
            confirm = bind(self._context.store.links.confirm, repository, digest, given_to=None)
            what = (repository.origin, digest)
            self._keeping.start(what, self._context.store_thread.run(confirm, None))
