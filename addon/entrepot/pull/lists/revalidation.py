"""Lists of tags, of referrers and of repositories: the registry is asked each time.

They change with every push, and what a client may see of them is the registry's to say: so its
answer is passed on as it comes, and only a copy is kept. Where the registry gave an ``ETag`` it is
asked with that, and its 304 is answered from the copy. Where no answer comes, what it last said is
served, marked as stale (see ``pull.stale``).

A page is kept for exactly the query by which it was asked for. What is kept has to be a list of the
right shape, whole, and from the registry itself (``list_shape``); that a registry has no
referrers is kept too, since clients go on with a tag then.
"""

import asyncio
from dataclasses import replace
from functools import partial

from entrepot.events.table import Event
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import ASKS_FOR_MORE, OF_A_LIST, only
from entrepot.protocol.headers import etag_matches
from entrepot.protocol.messages import Answer, Fields, Request
from entrepot.protocol.routes import ListEndpoint, Referrers
from entrepot.protocol.statuses import GONE, TRANSIENT
from entrepot.pull.lists.answers import kept_answer
from entrepot.pull.lists.asked_list import AskedList
from entrepot.pull.lists.kept_body import KeptBody
from entrepot.pull.lists.knowledge import Held, Known, ListKnowledge, Moment
from entrepot.pull.lists.list_shape import LARGEST, NOT_SUPPORTED, is_list, leads_elsewhere
from entrepot.pull.stale import StaleIfError, warning
from entrepot.storage.lists.kept_list import KeptList
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions
from entrepot.upstream.redirected_answers import is_elsewhere, is_page
from entrepot.upstream.relay import relayed

_SMALL = 256 * 1024
"""Bytes of a list that is read whole before its client gets any of it."""
_MOMENT = 64 * 1024
"""Bytes of JSON that are looked through within a millisecond."""
_ENDS = GONE | {400, 401, 403}
"""Answers that end what the client was told before."""
_FOR_ONE = frozenset({"range", "if-range", "origin"})
"""Fields of a request by which its answer is for it alone."""


class Lists:
    """Answers GET and HEAD of lists."""

    def __init__(self, context: Context, stale: StaleIfError, knowledge: ListKnowledge) -> None:
        self._context = context
        self._stale = stale
        self._knowledge = knowledge

    async def answer(self, request: Request, endpoint: ListEndpoint) -> Answer:
        """Ask, and where no answer comes serve what it last was. Raises ``UpstreamError``."""
        who = self._context.access.credentials.of(request)
        asked = AskedList.of(request, endpoint, who)
        known = await self._knowledge.find(asked)
        if known.last is not None and not self._stale.may_ask(request, by_digest=False):
            held = await self._serve_stale(asked, known.last, "the registry is not asked now")
            if held is not None:
                return held
        try:
            return await self._ask(asked, known)
        except UpstreamError as error:
            held = await self._serve_stale(asked, known.last, str(error))
            if held is None:
                raise
            return held

    async def _ask(self, asked: AskedList, known: Known, *, anew: bool = False) -> Answer:
        """What the registry says; ``anew``: not whether it is still what it was."""
        request, own = asked.request, known.own
        condition = None if anew or own is None else _our_condition(request, own)
        moment = self._knowledge.now()
        reply = await self._send(request, condition, fallback=known.last is not None)
        if reply.status in TRANSIENT:
            why = f"the registry answered {reply.status}"
            held = await self._serve_stale(asked, known.last, why)
            if held is not None:
                reply.close()
                return held
        if reply.status == 304 and own is not None and not anew:
            confirmed = await self._confirmed(asked, own, moment, ours=condition is not None)
            if confirmed is not None or condition is not None:
                reply.close()
                return confirmed or await self._ask(asked, known, anew=True)
        if reply.status == 200 and request.method == "GET" and _may_keep(asked, reply):
            return await self._taken(asked, reply, own, moment)
        await self._heard(asked, reply, moment)
        return await self._context.relay.answer(request, reply, how=_how(asked))

    async def _send(self, request: Request, condition: Fields | None, *, fallback: bool) -> Reply:
        """Ask as the client, in words that are the same for all (``content_fields``).

        Where the client asked the registry itself, redirects are its own to follow, as with all
        that passes. With a ``fallback`` upstream is not waited for long.
        """
        more = (*only(request.headers, ASKS_FOR_MORE), *(condition or ()))
        follow = Follow.NO if request.reach is None else Follow.ANY
        options = AskOptions(extra=more, fallback=fallback, follow=follow)
        gateway = self._context.gateway
        return await (gateway.send_patiently if fallback else gateway.send)(request, options)

    async def _confirmed(
        self, asked: AskedList, own: Held, moment: Moment, *, ours: bool
    ) -> Answer | None:
        """The answer where it is still what it was; None where that was not asked, or is lost."""
        condition = asked.request.value("If-None-Match")
        if not ours and not (
            condition and own.head.etag and etag_matches(condition, own.head.etag)
        ):
            return None
        found = await self._knowledge.confirmed(asked, own, moment)
        if found is None:
            return None
        return kept_answer(asked.request, found, cache_status.REVALIDATED, 0.0)

    async def _taken(
        self, asked: AskedList, reply: Reply, own: Held | None, moment: Moment
    ) -> Answer:
        """A list for its client, of which a copy is kept.

        A small one is read whole first: so one that is cut can still be answered otherwise.
        """
        request, relay = asked.request, self._context.relay
        keep = partial(self._keep, asked, reply.headers, own, moment)
        try:
            head, whole = await relay.beginning(request, reply, _SMALL)
        except BaseException:
            reply.close()
            raise
        if whole:
            await keep(head)
            return relayed(reply, head, len(head), _how(asked))
        body = KeptBody(relay.body(request, reply, head=head), LARGEST, keep)
        return relayed(reply, body, reply.length, _how(asked))

    async def _keep(
        self, asked: AskedList, headers: Fields, own: Held | None, moment: Moment, content: bytes
    ) -> None:
        """Keep a whole list, if it is one; what it was before is known to be one."""
        if len(content) > LARGEST:
            return
        found = KeptList.of(200, only(headers, OF_A_LIST), content, moment.wall)
        known = own is not None and (own.head.status, own.head.hash) == (200, found.head.hash)
        if not known:
            small = len(content) <= _MOMENT
            look = partial(is_list, asked.endpoint, content)
            if not (look() if small else await asyncio.to_thread(look)):
                return
        await self._knowledge.told(asked, found, moment)

    async def _heard(self, asked: AskedList, reply: Reply, moment: Moment) -> None:
        """Take in an answer that is no list."""
        if reply.status in _ENDS:
            await self._knowledge.refused(asked, reply, moment)
        if not isinstance(asked.endpoint, Referrers) or is_page(reply.headers):
            return
        if reply.status in NOT_SUPPORTED and not is_elsewhere(asked.request, reply):
            none = KeptList.of(reply.status, (), b"", moment.wall)
            await self._knowledge.told(asked, none, moment)

    async def _serve_stale(self, asked: AskedList, held: Held | None, why: str) -> Answer | None:
        """What a list last was, with a ``Warning``; None where it cannot be had."""
        found = None if held is None else await self._knowledge.read(asked, held)
        if found is None:
            return None
        context, name = self._context, asked.name
        age = self._knowledge.age(found)
        context.events.log(
            Event.LIST_STALE,
            kind=asked.endpoint.detail,
            registry=name.origin if name.repository is None else None,
            repository=name.repository,
            age=f"{age:.0f}s",
        )
        answer = kept_answer(asked.request, found, cache_status.STALE, age)
        return replace(answer.adding(warning(age, asked.words)), why=why)


def _how(asked: AskedList) -> cache_status.CacheStatus:
    return cache_status.bypass(asked.endpoint.detail)


def _our_condition(request: Request, own: Held) -> Fields | None:
    """By what to ask whether a list is still what it was; a client's own condition goes alone."""
    asks = {name.lower() for name, _ in request.headers} & ASKS_FOR_MORE
    if own.head.etag is None or own.head.status != 200 or asks - {"cache-control", "pragma"}:
        return None
    return None if request.method != "GET" else (("If-None-Match", own.head.etag),)


def _may_keep(asked: AskedList, reply: Reply) -> bool:
    """Whether a 200 may be kept, if it is a list: whole, plain, and the registry's own."""
    for_one = {name.lower() for name, _ in asked.request.headers} & _FOR_ONE
    if for_one or is_elsewhere(asked.request, reply) or is_page(reply.headers):
        return False
    size = reply.length
    fits = reply.is_delimited and (size is None or size <= LARGEST)
    encoded = reply.value("Content-Encoding")
    return fits and not encoded and not leads_elsewhere(reply.headers, asked.name.origin)
