"""Tags that stand for what is attached to a manifest, where there is nothing attached.

`sha256-<hex>` lists the referrers of a manifest at a registry without that endpoint
(distribution-spec, "Referrers Tag Schema"); with `.sig`, `.att` or `.sbom` behind it, it holds
what cosign attached. Clients ask for them of every image, go on at 404, and fail at any other
answer: so that they are not there is kept as lists are, and said again while the registry is away.
Of no other tag: who pulls an image must hear that its registry does not answer.
"""

import re
from collections.abc import Awaitable, Callable

from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Answer
from entrepot.protocol.routes import Referrers
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull.lists.answers import kept_answer
from entrepot.pull.lists.asked_list import AskedList
from entrepot.pull.lists.knowledge import ListKnowledge
from entrepot.pull.pull import TagPull
from entrepot.pull.stale import StaleIfError, warning
from entrepot.storage.lists.kept_list import KeptList, ListName

_ATTACHMENT = re.compile(r"(sha256)-([0-9a-f]{64})(?:\.[a-z]{1,10})?")


class AttachmentTags:
    """Remembers which of these tags are not there, and for whom."""

    def __init__(self, knowledge: ListKnowledge, stale: StaleIfError) -> None:
        self._knowledge = knowledge
        self._stale = stale

    async def answer(self, pull: TagPull, ask: Callable[[TagPull], Awaitable[Answer]]) -> Answer:
        """What ``ask`` answers, or that it is not there. Raises what ``ask`` raises."""
        asked = _asked(pull)
        if asked is None:
            return await ask(pull)
        if not self._stale.may_ask(pull.request, by_digest=False):
            missing = await self._missing(asked)
            if missing is not None:
                return missing
        moment = self._knowledge.now()
        try:
            answer = await ask(pull)
        except UpstreamError:
            missing = await self._missing(asked)
            if missing is None:
                raise
            return missing
        if answer.status in TRANSIENT and (missing := await self._missing(asked)) is not None:
            answer.close()
            return missing
        if answer.status == 404:
            none = KeptList.of(404, (), b"", moment.wall)
            await self._knowledge.told(asked, none, moment)
        elif answer.status == 200 and not _is_stale(answer):
            await self._knowledge.untold(asked, moment)
        return answer

    async def _missing(self, asked: AskedList) -> Answer | None:
        """That it is not there, where the last that such clients heard is that."""
        known = await self._knowledge.find(asked)
        found = None if known.last is None else await self._knowledge.read(asked, known.last)
        if found is None:
            return None
        age = self._knowledge.age(found)
        answer = kept_answer(asked.request, found, cache_status.STALE, age)
        return answer.adding(warning(age))


def _is_stale(answer: Answer) -> bool:
    return answer.value(cache_status.FIELD) == cache_status.STALE[1]


def _asked(pull: TagPull) -> AskedList | None:
    """The question, as one for a list; None for another tag."""
    match = _ATTACHMENT.fullmatch(pull.tag.name)
    if match is None:
        return None
    subject = Referrers(pull.repository.name, Digest(match[1], match[2]))
    name = ListName.of_tag(pull.repository, pull.tag, pull.accept)
    return AskedList(pull.request, subject, pull.who, name)
