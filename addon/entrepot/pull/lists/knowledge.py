"""What registries last said of lists, to whom: taken in, and found again for who may have it.

By the rules of tags (``pull.stale``), but that a list may differ by who asks for it: so it is kept
for each of them.

- What anonymous clients, or an account of the proxy's, were told is kept on disk by that label, and
  counts until the registry tells the same label otherwise: that it may not have this (401 and 403
  end all lists of the repository), or that it is not there (404). What a stranger is told takes
  nothing away from others.
- Anybody gets what anonymous clients were told, but who was told since that this is not there.
- Who shows a login of its own gets what it was told itself, for some minutes (``own_login_lists``).
- Clients of the networks of ``--offline-private`` get whatever is held.

A refusal of a list says nothing of what may be pulled: there are registries that let nobody list
what everybody may have. But a refusal of the repository counts for its lists, too.
"""

from dataclasses import dataclass, replace

from entrepot.auth.grants import Asked
from entrepot.bounded_map import BoundedMap
from entrepot.http_client.response import Reply
from entrepot.protocol.account import ANYONE
from entrepot.protocol.statuses import GONE
from entrepot.pull.authorization import refuses_all_such
from entrepot.pull.lists.asked_list import AskedList
from entrepot.pull.lists.own_login_lists import OwnLoginLists
from entrepot.pull.stale import StaleIfError
from entrepot.storage.lists.kept_list import KeptList, ListHead
from entrepot.storage.lists.lists import SOMEBODY
from entrepot.upstream.context import Context

_MOST_HEARD = 10_000
_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Moment:
    """When a registry was asked."""

    asked: Asked
    wall: float
    """The same as the time of day."""


@dataclass(frozen=True, slots=True)
class Held:
    """A list that is held."""

    head: ListHead
    label: str | None
    """By which it is on disk; None where it is in memory."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a list when a client asks for it."""

    own: Held | None = None
    """What this client, or its like, was told last: by its ``ETag`` the registry may be asked."""
    last: Held | None = None
    """What it may have where the registry does not answer."""


class ListKnowledge:
    """Remembers lists. To be used on the event loop."""

    def __init__(self, context: Context, stale: StaleIfError) -> None:
        self._context = context
        self._stale = stale
        self._own_logins = OwnLoginLists(context.access, context.clock)
        self._heard: BoundedMap[str, float] = BoundedMap(_MOST_HEARD)
        """When the latest answers were asked for, by list and by scope."""
        self._gone: BoundedMap[str, None] = BoundedMap(_MOST_HEARD)
        """Lists of which the last that such clients were told is that they are not there."""

    def now(self) -> Moment:
        """Mark a question that goes upstream now."""
        context = self._context
        return Moment(context.access.asked(context.clock()), context.wall())

    async def find(self, asked: AskedList) -> Known:
        """What is known of a list."""
        label, own = asked.who.label, None
        if label is not None:
            own = await self._on_disk(asked, label)
        elif (found := self._own_logins.find(asked)) is not None:
            own = Held(found.head, None)
        if own is not None and self._stale.is_recent(own.head.checked):
            return Known(own, own)
        return Known(own, await self._of_others(asked))

    async def _of_others(self, asked: AskedList) -> Held | None:
        """What others were told and this client may have."""
        if asked.key in self._gone:
            return None
        if asked.who.label != ANYONE:
            anybodys = await self._on_disk(asked, ANYONE)
            if self._is_for_others(anybodys):
                return anybodys
        if not self._stale.has_all_that_is_held(asked.request):
            return None
        store, nothing = self._context.store, list[str]()
        labels = await self._context.store_thread.run(
            lambda: store.lists.labels(asked.name), nothing
        )
        held = [await self._on_disk(asked, label) for label in labels]
        recent = [one for one in held if one and self._stale.is_recent(one.head.checked)]
        return max(recent, key=_rank, default=None)

    def _is_for_others(self, held: Held | None) -> bool:
        """Whether it is a list: that there is none counts for who was told so alone."""
        return (
            held is not None
            and held.head.status == 200
            and self._stale.is_recent(held.head.checked)
        )

    async def _on_disk(self, asked: AskedList, label: str) -> Held | None:
        store = self._context.store
        head = await self._context.store_thread.run(
            lambda: store.lists.head(asked.name, label), None
        )
        return None if head is None else Held(head, label)

    async def read(self, asked: AskedList, held: Held) -> KeptList | None:
        """The list itself, as long as it is what its head says."""
        label, store = held.label, self._context.store
        if label is None:
            return self._own_logins.find(asked)
        found = await self._context.store_thread.run(
            lambda: store.lists.read(asked.name, label), None
        )
        return found if found is not None and found.head.hash == held.head.hash else None

    def age(self, found: KeptList) -> float:
        """Seconds since the registry said so."""
        return max(0.0, self._context.wall() - found.head.checked)

    # What registries say

    async def told(self, asked: AskedList, found: KeptList, moment: Moment) -> None:
        """Keep what a registry said, unless something was heard since."""
        if not self._is_news(asked, moment):
            return
        if found.head.status == 200:
            self._gone.pop(asked.key)
        label, store = asked.who.label, self._context.store
        if label is None:
            self._own_logins.keep(asked, found, moment.asked)
            label = SOMEBODY if self._stale.gives_all_that_is_held else None
        if label is not None:
            whose = label
            await self._context.store_thread.run(
                lambda: store.lists.put(asked.name, whose, found), otherwise=False
            )

    async def untold(self, asked: AskedList, moment: Moment) -> None:
        """Forget what a registry said, since it says something else now."""
        if self._is_news(asked, moment):
            await self._forget(asked)

    async def confirmed(self, asked: AskedList, own: Held, moment: Moment) -> KeptList | None:
        """The list that a registry says is still what it was; None where it cannot be read."""
        found = await self.read(asked, own)
        if found is None:
            return None
        found = KeptList(replace(found.head, checked=moment.wall), found.content)
        await self.told(asked, found, moment)
        return found

    async def refused(self, asked: AskedList, reply: Reply, moment: Moment) -> None:
        """Forget what a refusal ends: a repository's lists (401, 403), or this one (404)."""
        whole = reply.status in _REFUSED
        if not self._is_news(asked, moment, whole=whole):
            return
        who, store, name = asked.who, self._context.store, asked.name
        if reply.status in GONE:
            self._gone.put(asked.key, None)
        if who.label is None and whole:
            self._own_logins.forget_all(asked)
        elif not whole:
            await self._forget(asked)
        elif who.label is not None and refuses_all_such(reply, who):
            label = who.label
            await self._context.store_thread.run(
                lambda: store.lists.forget_all(name.origin, name.place, label), None
            )

    async def _forget(self, asked: AskedList) -> None:
        label, store = asked.who.label, self._context.store
        if label is None:
            self._own_logins.forget(asked)
        else:
            whose = label
            await self._context.store_thread.run(
                lambda: store.lists.forget(asked.name, whose), None
            )

    def _is_news(self, asked: AskedList, moment: Moment, *, whole: bool = False) -> bool:
        """Whether nothing was heard yet that was asked for later; from now on this is the latest.

        ``whole``: it counts for all lists of the repository.
        """
        at = moment.asked.at
        latest = (self._heard.get(key, at) for key in (asked.scope, asked.key))
        if at < max(latest):
            return False
        self._heard.put(asked.scope if whole else asked.key, at)
        return True


def _rank(held: Held) -> tuple[bool, float]:
    """A list before the word that there is none, then the latest."""
    return held.head.status == 200, held.head.checked
