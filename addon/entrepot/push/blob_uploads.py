"""Blobs that clients upload: followed from request to request, and kept at the registry's 201.

The bytes of an upload pass on their way to the registry, and go into a draft too (``draft_files``).
Only the registry's 201 to the last request makes a blob of them, and only if they hash to the
digest that it was asked to store: so whatever went another way (a part that did not pass here,
came twice or was refused, two clients at one upload, a restart in between) comes out as other
bytes or as none, and is not kept.

To a mount the client shows no bytes: that the repository has the blob counts there only as any
word of a registry does (``storage.repository_links``).
"""

import asyncio
from dataclasses import dataclass
from functools import partial as bind

from entrepot.bounded_map import BoundedMap
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Fields, Request, field_values, said_digest
from entrepot.push.draft_files import Draft, Drafts
from entrepot.push.pending_commits import PendingCommits
from entrepot.push.request_tap import RequestTap
from entrepot.push.upload_protocol import BeginUpload, ContinueUpload, UploadLocation, is_plain
from entrepot.storage.store_thread import StoreThread

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


class BlobUploads:
    """Follows uploads from request to request, by their locations; on one event loop."""

    def __init__(
        self,
        store_thread: StoreThread,
        events: Events,
        drafts: Drafts,
        pending: PendingCommits,
        idle_seconds: float,
    ) -> None:
        """``idle_seconds`` is how long an upload may rest between two of its requests."""
        self._store = store_thread.store
        self._store_thread = store_thread
        self._events = events
        self._drafts = drafts
        self._pending = pending
        self._idle_seconds = idle_seconds
        self._open: BoundedMap[UploadLocation, _Upload] = BoundedMap(_MOST_OPEN)
        self._pushed: set[_Pushed] = set()

    def begin(self, request: Request, step: BeginUpload, size: int | None) -> RequestTap:
        """Tap the request that begins an upload, or is all of it."""
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

        return RequestTap(draft, answered)

    def go_on(self, request: Request, step: ContinueUpload, size: int | None) -> RequestTap | None:
        """Tap a further request; None where the upload is not known here."""
        upload = self._open.pop(step.location)  # while one request is at it, no other is
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

        return RequestTap(draft, answered)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Do not store what was just pushed of a blob: a client has deleted it there."""
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
        said = field_values(fields, "Location")
        location = UploadLocation.after(request, said[0] if said else request.target)
        if location is None:
            upload.draft.close()
            return
        if (other := self._open.pop(location)) is not None:
            self._drop(other)
        loop = asyncio.get_running_loop()
        upload.draft.hand_over()  # it may rest for long
        upload.timer = loop.call_later(self._idle_seconds, self._expired, location, upload)
        if (oldest := self._open.put(location, upload)) is not None:
            self._drop(oldest)

    def _expired(self, location: UploadLocation, upload: _Upload) -> None:
        if self._open.get(location) is upload:
            self._open.pop(location)
            self._drop(upload)

    def _drop(self, upload: _Upload) -> None:
        if upload.timer is not None:
            upload.timer.cancel()
        upload.draft.close()

    # Storing

    def _keep(self, repository: Repository, digest: Digest, draft: Draft) -> None:
        pushed = _Pushed(repository, digest, draft)
        self._pushed.add(pushed)
        self._pending.start((repository.origin, digest), self._settle(pushed))

    async def _settle(self, pushed: _Pushed) -> None:
        draft, problem = pushed.draft, None
        try:
            problem = await draft.settle(pushed.digest)
            if problem is None and not pushed.deleted:
                problem = await self._store_thread.run(
                    bind(self._commit, pushed), otherwise=_NO_STORE
                )
        finally:
            draft.close()
            self._pushed.discard(pushed)
        repository, digest, events = pushed.repository, pushed.digest, self._events
        if problem is not None:
            events.log(Event.PUSH_UNKEPT, digest=digest, repository=repository, reason=problem)
        elif not pushed.deleted:
            size = draft.size
            events.log(
                Event.BLOB_STORED, digest=digest, size=size, repository=repository, cause="push"
            )

    def _commit(self, pushed: _Pushed) -> str | None:
        """Store a verified draft, on the store's thread; why not."""
        path = pushed.draft.path
        if path is None:
            return pushed.draft.problem
        kept = self._store.blobs.commit_draft(path, pushed.repository, pushed.digest, _BYTES)
        return None if kept else _NO_ROOM

    def _mounted(self, repository: Repository, digest: Digest, fields: Fields) -> None:
        if said_digest(fields) in (None, digest):
            confirm = bind(self._store.links.confirm, repository, digest, given_to=None)
            what = (repository.origin, digest)
            self._pending.start(what, self._store_thread.run(confirm, None))
