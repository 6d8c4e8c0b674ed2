"""Asking upstream whether a client may have an object, without fetching it.

HEAD of the same URL with the client's own credentials: 200 allows, and so does a redirect that
leaves the registry, since no credential goes with it. One that stays is followed: a registry may
move a path for everybody and ask for credentials there.

Some registries answer HEAD wrongly (public.ecr.aws refuses every blob HEAD with 401), so anything
else is asked once more by GET, of which only the head is read; where that does not allow either,
it is upstream's real answer, which the client gets.
"""

from entrepot.access import Credential
from entrepot.driver import Driver, is_allowed
from entrepot.message import Answer, Request
from entrepot.reference import Digest, Repository
from entrepot.upstream import Follow, Reply

_REFUSALS = frozenset({401, 403, 404})


async def ask(
    driver: Driver, request: Request, repository: Repository, digest: Digest, who: Credential
) -> Answer | None:
    """None where upstream allows ``who`` this object now, else the answer for the client.

    Raises ``UpstreamError``.
    """
    key = ("permission", repository, digest, who.fingerprint)
    allowed, _ = await driver.together(key, lambda: _head(driver, request))
    if not allowed:
        reply = await driver.send(
            request, method="GET", extra=(("Range", "bytes=0-0"),), follow=Follow.WITHIN
        )
        # 416: the object is there and empty, so that not even its first byte can be had.
        if not is_allowed(reply.status) and reply.status != 416:
            await refused(driver, reply, repository, digest, who)
            return await driver.relay(request, reply)
        reply.close()
    await allow(driver, repository, digest, who)
    return None


async def _head(driver: Driver, request: Request) -> bool:
    with await driver.send(request, method="HEAD", follow=Follow.WITHIN) as reply:
        return is_allowed(reply.status)


async def allow(driver: Driver, repository: Repository, digest: Digest, who: Credential) -> None:
    """Remember that upstream allowed ``who`` this object of ``repository``."""
    driver.access.allow(repository, who, (digest,), driver.clock())
    await driver.stored(
        lambda: driver.store.confirm(repository, digest, public=who.anonymous), None
    )


async def refused(
    driver: Driver, reply: Reply, repository: Repository, digest: Digest, who: Credential
) -> None:
    """Forget what no longer holds where upstream refused ``who``, or has the object no more."""
    if reply.status in _REFUSALS:
        driver.access.deny(repository, who)
    if reply.status == 404:
        await driver.stored(lambda: driver.store.unlink(repository, digest), None)
