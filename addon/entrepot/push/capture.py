"""What clients push, kept so that the first pull of it is a hit.

A push never waits for this, and never fails by it. What a registry's 201 says: that this
repository has this object. It says nothing of who may *read* it, not even of the one who pushed
it (there are accounts that may only push), so it allows nothing: a pull asks the registry as
ever, by the one HEAD that it sends anyway.

Blobs are in ``uploads``. A manifest is kept under the type under which it was put, as far as it
says that itself. Its tag is remembered as if somebody had asked for exactly this type: then the
first pull by tag asks by HEAD, whatever it accepts itself.
"""

import asyncio

from entrepot.events.table import Event
from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.protocol.messages import Fields, Request, said_digest
from entrepot.protocol.routes import Endpoint
from entrepot.push.draft_files import Drafts, Waiting
from entrepot.push.pending import Keeping
from entrepot.push.request_tap import Texts, Watched
from entrepot.push.upload_protocol import Begin, Go, PutManifest, is_plain, manifest_type, read_step
from entrepot.push.uploads import Uploads
from entrepot.upstream.context import Context

IDLE_SECONDS = 600.0


class Pushes:
    """Belongs to one event loop."""

    def __init__(self, context: Context, idle_seconds: float = IDLE_SECONDS) -> None:
        """``idle_seconds`` is how long an upload may rest between two of its requests."""
        self._context = context
        self._keeping = Keeping()
        self._waiting = Waiting()
        self._texts = Texts()
        self._drafts = Drafts(context.store, context.store_thread.run_from_thread, self._waiting)
        self._uploads = Uploads(context, self._drafts, self._keeping, idle_seconds)

    def watch(self, request: Request, endpoint: Endpoint, size: int | None) -> Watched | None:
        """Watch a request, whose body has ``size`` bytes where that is said beforehand.

        None where it is of no push, or of none that is known here.
        """
        step = read_step(request, endpoint)
        match step:
            case Begin():
                return self._uploads.begin(request, step, size)
            case Go():
                return self._uploads.go_on(request, step, size)
            case PutManifest():
                return self._manifest(request, step)
        return None

    async def blob_settled(self, repository: Repository, digest: Digest) -> None:
        """Wait a while for a blob that was pushed just now."""
        await self._keeping.settled((repository.origin, digest))

    async def manifests_settled(self, repository: Repository) -> None:
        """Wait a while for manifests that were pushed just now."""
        await self._keeping.settled(repository)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Take in that a repository has a blob no more."""
        self._uploads.forget(repository, digest)

    async def stop(self, seconds: float) -> None:
        """Drop what is unfinished; wait for what is being stored."""
        self._uploads.stop()
        await self._keeping.stop(seconds)
        await asyncio.to_thread(self._drafts.close)

    def _manifest(self, request: Request, step: PutManifest) -> Watched:
        text = self._texts.begin()

        def answered(status: int, fields: Fields) -> None:
            content = text.whole()
            text.close()
            if status == 201 and content is not None and is_plain(request):
                self._keep(request, step, content, said_digest(fields))

        return Watched(text, answered)

    def _keep(
        self, request: Request, step: PutManifest, content: bytes, said: Digest | None
    ) -> None:
        """Store a manifest that the registry took in, unless one of its names is not its own."""
        repository, reference, store = step.repository, step.reference, self._context.store
        names = [name for name in (reference, said) if isinstance(name, Digest)]
        digest = Digest.of(content, names[0].algorithm if names else "sha256")
        media_type = manifest_type(request.value("Content-Type") or "", content)
        if media_type is None or any(name != digest for name in names):
            self._context.events.log(
                Event.PUSH_UNKEPT, repository=repository, reason="an unusual manifest"
            )
            return

        def keep() -> None:
            kept = store.manifests.put(repository, digest, content, media_type, given_to=None)
            if kept and isinstance(reference, Tag):
                accept = normalise_accept([media_type])
                store.tags.set(repository, reference.name, accept, digest)

        self._keeping.start(repository, self._context.store_thread.run(keep, None))
