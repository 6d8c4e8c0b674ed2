"""What an answer of upstream's allows, and asking without fetching.

An answer allows an object only if it can be that object. A registry behind a single sign-on
answers everybody 200, with a login page, at once or behind a redirect: so a status alone says
nothing. What counts:

- ``Docker-Content-Digest``: of the digest's own algorithm it must be equal, and then suffices;
- without it the whole length, which must be that of the object (a content network knows no
  digests);
- bytes that hash to the digest.

What refuses counts for who was told it, and no further: what a stranger is told takes nothing away
from others. Where the proxy asks as somebody, or as anybody, it is told to all for whom it asks so
(``Credential.label``).

A blob is asked for by GET of its first byte, redirects followed. Not by HEAD: signed URLs of
content networks are for one method only, and public.ecr.aws refuses every HEAD of a blob.
Manifests are asked for by HEAD, since Docker Hub counts their GETs.
"""

from dataclasses import dataclass

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Asked
from entrepot.http_client.response import Reply
from entrepot.protocol.header_filters import FOR_ONE_CLIENT, without
from entrepot.protocol.headers import parse_challenges
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.messages import Answer, Request, field_values, said_digest
from entrepot.protocol.statuses import GONE, REFUSALS
from entrepot.upstream.context import Context


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer with success says of the object in it."""

    asked: Asked
    digest: Digest | None
    """``Docker-Content-Digest``, where it is one that can be verified."""
    size: int | None
    """How long the whole is."""

    @classmethod
    def by(cls, reply: Reply, asked: Asked) -> "Shown":
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


async def ask_for_blob(
    context: Context,
    request: Request,
    repository: Repository,
    digest: Digest,
    who: Credential,
    *,
    brief: bool = False,
) -> Shown | Answer:
    """What upstream shows ``who`` of a blob, or its refusal, for the client.

    ``brief`` where something could be served instead. Raises ``UpstreamError``.
    """
    key = ("permission", brief, repository, digest, who.fingerprint, request.method, request.query)

    async def ask(request: Request) -> Shown | Answer:
        asked = context.access.asked(context.clock())
        reply = await context.gateway.send_patiently(
            request, method="GET", extra=(("Range", "bytes=0-0"),), downgrade=True, brief=brief
        )
        # 416: the object is there and empty, so that not even its first byte can be had.
        if reply.status in (200, 206, 416):
            context.gateway.let_go(reply)
            return Shown.by(reply, asked)
        await refused(context, reply, repository, digest, who)
        return await context.relay.answer(request, reply)

    word, mine = await context.ask_once(key, request, ask)
    if isinstance(word, Shown) or mine:
        return word
    if not isinstance(word.content, bytes):
        return await ask(request)
    return Answer(word.status, without(word.headers, FOR_ONE_CLIENT), word.content)


async def allow(
    context: Context, repository: Repository, digest: Digest, who: Credential, asked: Asked
) -> None:
    """Remember that upstream allowed ``who`` this object of ``repository``."""
    access, store = context.access, context.store
    access.allow(repository, who, (digest,), asked)
    now = context.clock()

    def confirm() -> None:
        if access.still_counts(repository, who, digest, asked, now):
            store.links.confirm(
                repository, digest, given_to=given_to(context, repository, digest, who, asked)
            )

    await context.store_thread.run(confirm, None)


def given_to(
    context: Context, repository: Repository, digest: Digest, who: Credential, asked: Asked
) -> str | None:
    """As whom the store is to remember that this was given, where nothing speaks against it since.

    To be asked on the store's thread: what is heard after that is written after it.
    """
    stands = context.access.stands(repository, who, digest, asked)
    return who.label if stands else None


async def refused(
    context: Context,
    reply: Reply,
    repository: Repository,
    digest: Digest | None,
    who: Credential,
    *,
    for_all: bool = True,
) -> None:
    """Forget what no longer holds for ``who``, whom upstream refused ``digest`` or a tag.

    ``for_all``: it refused all for whom it is asked as the same, not this request alone.
    """
    access, store, label = context.access, context.store, who.label
    if reply.status in REFUSALS:
        for_all = for_all and _refuses_all_such(reply, who)
        access.deny(repository, who, everybody=for_all)
        if label is not None and for_all:
            await context.store_thread.run(
                lambda: store.decisions.set_refused(repository, label), None
            )
    elif reply.status in GONE and digest is not None:
        access.gone(repository, who, digest, everybody=for_all)
        if label is not None and for_all:
            await context.store_thread.run(
                lambda: store.decisions.set_gone(repository, digest, label), None
            )


def _refuses_all_such(reply: Reply, who: Credential) -> bool:
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
