"""Asking upstream for manifests: by HEAD, and by GET, each once for all who ask the same at once.

Single flight: a question about a digest may be joined until it is answered, since what it names
cannot change, and a grant counts from when it was asked for. One about a tag may be joined only
until it is sent: the tag may change right after.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TypeVar

from entrepot.auth.grants import Asked
from entrepot.events.counters import Counter
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import FOR_ONE_CLIENT, without
from entrepot.protocol.headers import normalise_accept
from entrepot.protocol.manifests import MAX_SIZE, is_cacheable
from entrepot.protocol.messages import Answer, Fields, Request, said_digest
from entrepot.protocol.statuses import GONE
from entrepot.pull.authorization import Authorization, Evidence
from entrepot.pull.manifests.commit import ManifestCommit
from entrepot.pull.manifests.tag_history import TagHistory
from entrepot.pull.pull import Pull, TagPull
from entrepot.transfer.range_answers import part_of
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions
from entrepot.upstream.redirected_answers import is_elsewhere, is_page

_ATTEMPTS = 3
"""How often a manifest is asked for whose body breaks off."""

_NO_HEAD = frozenset({405, 501})
"""What a server answers that does not know the method (RFC 9110 section 9.1)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """What upstream answered to a HEAD, to be shared by all who asked at once."""

    status: int
    headers: Fields
    evidence: Evidence

    @property
    def is_enough(self) -> bool:
        """Whether a client can use it; else a GET tells what it leaves out.

        docker ends a pull where a HEAD names no length: an answer that upstream chunks or
        compresses has none, or that of the compressed bytes. And where a tag's digest is not said,
        no client knows what to ask for next.
        """
        if self.status != 200:
            return self.status not in _NO_HEAD
        names = {name.lower() for name, _ in self.headers}
        has_all = {"content-length", "docker-content-digest"} <= names
        return has_all and "content-encoding" not in names

    def answer(self) -> Answer:
        """The same for a client. Raises :class:`NoManifestError`."""
        if self.status == 200 and is_page(self.headers):
            raise NoManifestError("it sent a web page instead of a manifest")
        return Answer(self.status, self.headers)


class NoManifestError(Exception):
    """Upstream answered with success and with something else than a manifest.

    No failure of upstream's: what is held is not served in its place.
    """


class ManifestFetch:
    """Asks upstream for manifests, and remembers what it says."""

    def __init__(self, context: Context, authorization: Authorization, history: TagHistory) -> None:
        self._context = context
        self._authorization = authorization
        self._history = history
        self._commit = ManifestCommit(context, authorization, history)

    async def head(self, pull: Pull | TagPull, *, fallback: bool = False) -> Head:
        """Ask by HEAD. Raises ``UpstreamError``.

        ``fallback`` where something could be served instead: upstream is not waited for long.
        """
        head, _ = await self._once(
            ("head", fallback), pull, lambda shared: self._head_alone(shared, fallback=fallback)
        )
        return head

    async def get(self, pull: Pull | TagPull, *, patient: bool = True) -> Answer:
        """Ask by GET, verify and keep it. Raises ``UpstreamError`` and :class:`NoManifestError`.

        ``patient``: upstream is asked again where it fails in passing. It is asked for the whole,
        of which this client gets the part that it wants.
        """
        headers = without(pull.request.headers, ("range",))
        whole = replace(pull, request=replace(pull.request, headers=headers))
        return part_of(pull.request, await self._get_shared(whole, patient=patient))

    async def _get_shared(self, pull: Pull | TagPull, *, patient: bool) -> Answer:
        """As all get it who ask at once; a body too large to share each gets by itself."""
        answer, mine = await self._once(
            ("get", pull.request.method),
            pull,
            lambda shared: self._get_alone(shared, patient=patient),
        )
        if mine:
            return answer
        if not isinstance(answer.content, bytes):
            return await self._get_alone(pull)
        kept = tuple(
            pair
            for pair in without(answer.headers, FOR_ONE_CLIENT)
            if pair[0] != cache_status.FIELD
        )
        return replace(answer, headers=(*kept, cache_status.COLLAPSED))

    async def _once(
        self,
        how: tuple[object, ...],
        pull: Pull | TagPull,
        ask: Callable[[Pull | TagPull], Awaitable[T]],
    ) -> tuple[T, bool]:
        """Ask once for all whose question is the same; whether the caller asked first."""

        async def ask_for_all(request: Request) -> T:
            return await ask(replace(pull, request=request))

        request = pull.request
        accept = normalise_accept(request.values("Accept"))
        condition = request.value("If-None-Match")
        asked_as = (pull.who.fingerprint, request.query, condition)
        key = (*how, pull.repository, str(pull.reference), accept, *asked_as)
        by_tag = isinstance(pull, TagPull)
        return await self._context.ask_once(key, request, ask_for_all, until_sent=by_tag)

    async def _head_alone(self, pull: Pull | TagPull, *, fallback: bool) -> Head:
        context, request = self._context, replace(pull.request, method="HEAD")
        asked = self._authorization.asked_now()
        options = AskOptions("HEAD", fallback=fallback)
        with await context.gateway.send_patiently(pull.request, options) as reply:
            evidence = Evidence.of(reply, asked)
            if reply.status != 200:
                await self._refused(pull, reply, asked)
            elif isinstance(pull, Pull) and evidence.is_named(pull.digest):
                await self._authorization.grant(pull, asked)
            answer = await context.relay.answer(request, reply)
            headers = without(answer.headers, FOR_ONE_CLIENT)
            if isinstance(pull, Pull) and evidence.digest is None and _is_manifest(reply):
                headers = (*headers, ("Docker-Content-Digest", str(pull.digest)))
            return Head(reply.status, headers, evidence)

    async def _get_alone(self, pull: Pull | TagPull, *, patient: bool = True) -> Answer:
        context, request = self._context, pull.request
        send = context.gateway.send_patiently if patient else context.gateway.send
        options = AskOptions("GET", downgrade=isinstance(pull, Pull))
        for attempt in count(1):
            asked = self._authorization.asked_now()
            reply = await send(request, options)
            if reply.status != 200:
                await self._refused(pull, reply, asked)
                return await context.relay.answer(request, reply)
            if not _is_manifest(reply):
                return await self._relay_unverified(request, reply)
            try:
                read = partial(reply.read_all, MAX_SIZE + 1)
                content = await context.threads.call(read, by=request)
            except UpstreamError as error:  # cut: no client asks again
                reply.close()
                if attempt >= _ATTEMPTS or not (error.passing and request.is_awaited()):
                    raise
                context.events.count(Counter.UPSTREAM_RETRIES)
                continue
            if len(content) > MAX_SIZE or _may_be_cut(pull, reply):
                return await self._relay_unverified(request, reply, content)
            reply.close()
            return await self._commit.keep(pull, reply, content, asked)
        raise AssertionError  # count() has no end

    async def _refused(self, pull: Pull | TagPull, reply: Reply, asked: Asked) -> None:
        await self._authorization.revoke(pull, reply)
        if isinstance(pull, TagPull) and reply.status in GONE:
            await self._history.gone(pull, asked)

    async def _relay_unverified(
        self, request: Request, reply: Reply, head: bytes | None = None
    ) -> Answer:
        """Pass on a registry's own answer that its client has to make sense of."""
        if is_page(reply.headers) or is_elsewhere(request, reply):
            reply.close()
            what = "a web page" if is_page(reply.headers) else "what cannot be verified"
            raise NoManifestError(f"{reply.target.origin} sent {what} instead of a manifest")
        return await self._context.relay.answer(request, reply, head=head)


def _is_manifest(reply: Reply) -> bool:
    """Whether it is a manifest in the bytes that a digest names: not encoded, no schema 1."""
    encoded = reply.value("Content-Encoding")
    return reply.status == 200 and is_cacheable(reply.value("Content-Type") or "") and not encoded


def _may_be_cut(pull: Pull | TagPull, reply: Reply) -> bool:
    """Whether a cut body would not be noticed: it has no length, and no digest to check it by."""
    has_digest = isinstance(pull, Pull) or said_digest(reply.headers) is not None
    return not has_digest and not reply.is_delimited
