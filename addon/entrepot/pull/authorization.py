"""Whether this client may have this cached blob or manifest, and what upstream said of it.

The decision is always upstream's. Here it is looked up, asked for, and remembered:

- ``auth.grants`` remembers in memory what upstream allowed, to whom, and for how long: a grant that
  still counts answers without a question;
- where there is none, upstream is asked, and its answer is read here: what it proves of the object
  (:class:`Evidence`), what it refuses, and for whom;
- ``storage.past_grants`` remembers on disk to whom objects were given, by a label
  (``Credential.label``), for ``stale``: that decides while upstream does not answer at all;
- that a tag is there, or not, is remembered in ``manifests.tag_history``.

An answer allows an object only if it can be that object. A registry behind a single sign-on
answers everybody 200, with a login page, at once or behind a redirect: so a status alone says
nothing. What counts:

- ``Docker-Content-Digest``: of the digest's own algorithm it must be equal, and then suffices;
- without it the whole length, which must be that of the object (a content network knows no
  digests);
- bytes that hash to the digest.

A refusal counts for whom it was told, and no further: what a stranger is told takes nothing away
from others. Where the proxy asks as an account, or as anybody, it counts for all for whom it asks
so.

A blob is asked for by GET of its first byte, redirects followed. Not by HEAD: signed URLs of
content networks are for one method only, and public.ecr.aws refuses every HEAD of a blob.
Manifests are asked for by HEAD, since Docker Hub counts their GETs.
"""

from dataclasses import dataclass, replace

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.http_client.response import Reply
from entrepot.protocol.header_filters import FOR_ONE_CLIENT, without
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import Answer, Request, field_values, said_digest
from entrepot.protocol.statuses import GONE, REFUSALS
from entrepot.pull.pull import Pull, TagPull
from entrepot.upstream.context import Context
from entrepot.upstream.gateway import AskOptions
from entrepot.upstream.redirected_answers import is_elsewhere

FIRST_BYTE = (("Range", "bytes=0-0"),)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a successful answer of upstream's proves of the object in it."""

    asked: Asked
    digest: Digest | None
    """``Docker-Content-Digest``, where it is one that can be verified."""
    size: int | None
    """How long the whole is, in bytes."""
    elsewhere: bool = False
    """Whether the registry redirected to another host for it."""

    @classmethod
    def of(cls, reply: Reply, asked: Asked) -> "Evidence":
        """Read the head of a 200, a 206, or a 416 to a request for the first byte."""
        return cls(asked, said_digest(reply.headers), _whole_size(reply))

    def is_named(self, digest: Digest) -> bool:
        """Whether upstream says itself that it is this object."""
        return self.digest == digest

    def can_be(self, digest: Digest, size: int | None) -> bool:
        """Whether it can be this object of ``size`` bytes."""
        if self.digest is not None and self.digest.algorithm == digest.algorithm:
            return self.is_named(digest)
        return size is not None and self.size == size


class Authorization:
    """Decides whether a client may have a cached object, by what upstream said or says now."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def is_granted(self, pull: Pull) -> bool:
        """Whether a grant covers it; whether the repository has it is another question."""
        access, now = self._context.access, self._context.clock()
        return access.is_allowed(pull.repository, pull.who, pull.digest, now)

    def still_counts(self, pull: Pull, asked: Asked) -> bool:
        """Whether what upstream allowed when it was ``asked`` may be acted on now."""
        access, now = self._context.access, self._context.clock()
        return access.still_counts(pull.repository, pull.who, pull.digest, asked, now)

    def asked_now(self) -> Asked:
        """Mark a question that goes upstream now: an answer counts from then."""
        return self._context.access.asked(self._context.clock())

    async def ask_for_blob(self, pull: Pull, *, fallback: bool = False) -> Evidence | Answer:
        """What upstream shows a client of a blob, or its refusal, for the client.

        One question for all who ask the same at once. ``fallback`` where something could be served
        instead: upstream is not waited for long. Raises ``UpstreamError``.
        """
        request = pull.request
        asker = (pull.who.fingerprint, request.method, request.query)
        key = ("permission", fallback, pull.repository, pull.digest, *asker)

        async def ask(request: Request) -> Evidence | Answer:
            return await self._ask_for_blob(replace(pull, request=request), fallback=fallback)

        outcome, mine = await self._context.ask_once(key, request, ask)
        if isinstance(outcome, Evidence) or mine:
            return outcome
        if not isinstance(outcome.content, bytes):
            return await ask(request)
        return Answer(outcome.status, without(outcome.headers, FOR_ONE_CLIENT), outcome.content)

    async def _ask_for_blob(self, pull: Pull, *, fallback: bool) -> Evidence | Answer:
        context, asked = self._context, self.asked_now()
        first_byte = AskOptions("GET", FIRST_BYTE, downgrade=True, fallback=fallback)
        reply = await context.gateway.send_patiently(pull.request, first_byte)
        # 416: the object is there and empty, so that not even its first byte can be had.
        if reply.status in (200, 206, 416):
            context.gateway.let_go(reply)
            elsewhere = is_elsewhere(pull.request, reply)
            return replace(Evidence.of(reply, asked), elsewhere=elsewhere)
        await self.revoke(pull, reply)
        return await context.relay.answer(pull.request, reply)

    async def grant(self, pull: Pull, asked: Asked) -> None:
        """Remember that upstream allowed a client this object when it was ``asked``."""
        access, store = self._context.access, self._context.store
        access.allow(pull.repository, pull.who, (pull.digest,), asked)
        now = self._context.clock()

        def confirm() -> None:
            if access.still_counts(pull.repository, pull.who, pull.digest, asked, now):
                store.links.confirm(
                    pull.repository, pull.digest, given_to=self.given_to(pull, asked)
                )

        await self._context.store_thread.run(confirm, None)

    def given_to(self, pull: Pull, asked: Asked) -> str | None:
        """As whom the store is to remember that this was given; None where something revoked it.

        To be asked on the store's thread: what is heard after that is written after it.
        """
        access, who = self._context.access, pull.who
        return who.label if access.stands(pull.repository, who, pull.digest, asked) else None

    async def revoke(self, pull: Pull | TagPull, reply: Reply, *, for_all: bool = True) -> None:
        """Forget the grants that a refusal ends: a repository's (401, 403), or an object's (404).

        ``for_all``: it refused all for whom it is asked as the same, not this request alone.
        """
        access, store = self._context.access, self._context.store
        repository, who, label = pull.repository, pull.who, pull.who.label
        if reply.status in REFUSALS:
            for_all = for_all and refuses_all_such(reply, who)
            access.deny(repository, who, everybody=for_all)
            if label is not None and for_all:
                await self._context.store_thread.run(
                    lambda: store.decisions.set_refused(repository, label), None
                )
        elif reply.status in GONE and isinstance(pull, Pull):
            digest = pull.digest
            access.gone(repository, who, digest, everybody=for_all)
            if label is not None and for_all:
                await self._context.store_thread.run(
                    lambda: store.decisions.set_gone(repository, digest, label), None
                )


def refuses_all_such(reply: Reply, who: Credential) -> bool:
    """Whether a refusal is one of an account, or of who is anonymous.

    Of the latter it is none where the request had no token, or one that has ended (RFC 6750
    section 3.1). An account was asked for again with a new one.
    """
    if reply.status not in (401, 403):
        return False
    if not who.anonymous:
        return True
    bearer = [
        challenge
        for challenge in parse_challenges(field_values(reply.headers, "WWW-Authenticate"))
        if challenge.scheme == "bearer"
    ]
    with_token = any(name.lower() == "authorization" for name, _ in reply.asked)
    ended = any(challenge.params.get("error") == "invalid_token" for challenge in bearer)
    return not (reply.status == 401 and bearer and (ended or not with_token))


def _whole_size(reply: Reply) -> int | None:
    if reply.status == 416:
        return 0
    if reply.status != 206:
        return reply.length
    return None if reply.content_range is None else reply.content_range.size
