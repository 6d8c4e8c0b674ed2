"""What becomes of a manifest that upstream sent: verified, stored, granted, answered."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Self

from entrepot.auth.grants import Asked
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import OF_A_MANIFEST, only
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.manifests import listed_digests
from entrepot.protocol.messages import Answer, said_digest, upstream_error
from entrepot.pull.authorization import Authorization
from entrepot.pull.manifests.tag_history import TagHistory
from entrepot.pull.pull import Pull, TagPull
from entrepot.transfer.range_answers import Content, content_answer
from entrepot.upstream.context import Context


@dataclass(frozen=True, slots=True)
class _Received:
    """A manifest that upstream sent, verified."""

    content: bytes
    media_type: str
    listed: Callable[[], frozenset[Digest]]
    """What it lists; read once, by who asks first: its JSON may take a tenth of a second."""

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Self:
        return cls(content, media_type, cache(partial(listed_digests, content)))


class ManifestCommit:
    """Keeps the manifests that upstream sends."""

    def __init__(self, context: Context, authorization: Authorization, history: TagHistory) -> None:
        self._context = context
        self._authorization = authorization
        self._history = history

    async def keep(
        self, pull: Pull | TagPull, reply: Reply, content: bytes, asked: Asked
    ) -> Answer:
        """Verify, store and answer ``content``, the body of ``reply`` to what was ``asked``."""
        claimed = pull.digest if isinstance(pull, Pull) else said_digest(reply.headers)
        digest = Digest.of(content, claimed.algorithm if claimed else "sha256")
        if claimed is not None and digest != claimed:
            return self._mismatch(pull, claimed)
        of_digest = pull if isinstance(pull, Pull) else pull.at(digest)
        told = None if isinstance(pull, Pull) else self._history.found(pull, digest, asked)
        received = _Received.of(content, reply.value("Content-Type") or "")
        kept = await self._store(of_digest, received, asked, told)
        access, events = self._context.access, self._context.events
        access.allow(pull.repository, pull.who, (digest,), asked)
        access.extend(pull.repository, pull.who, digest, received.listed)
        events.count(Counter.MANIFEST_MISSES)
        whole = Content(digest, received.media_type, len(content), content)
        how = cache_status.STORED if kept else cache_status.UNSTORED
        answer = content_answer(pull.request, whole, how)
        return answer.adding(*only(reply.headers, OF_A_MANIFEST))

    async def _store(
        self, pull: Pull, received: _Received, asked: Asked, told: Callable[[], None] | None
    ) -> bool:
        """Store a manifest, and what the tag is (``told``); False where it was not stored."""
        context, store = self._context, self._context.store
        repository, digest = pull.repository, pull.digest

        def keep() -> bool:
            """What is heard while this runs is written after it."""
            if context.access.is_deleted(repository, digest, asked):
                return False
            label = self._authorization.given_to(pull, asked)
            kept = store.manifests.put(
                repository,
                digest,
                received.content,
                received.media_type,
                given_to=label,
                listed=received.listed,
            )
            if told is not None:
                told()
            return kept

        return await context.store_thread.run(keep, otherwise=False)

    def _mismatch(self, pull: Pull | TagPull, claimed: Digest) -> Answer:
        self._context.events.log(
            Event.DIGEST_MISMATCHED, digest=claimed, repository=pull.repository, reason="manifest"
        )
        self._context.access.deny(pull.repository, pull.who)
        reason = f"it sent a manifest that is not {claimed}"
        return upstream_error(502, "DIGEST_INVALID", pull.repository.origin, reason)
