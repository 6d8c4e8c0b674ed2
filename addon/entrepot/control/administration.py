"""Administration: a request in JSON in, its answer out; over the socket, or in the folder itself.

A request is an object whose member `do` says what is wanted, as `docs/images.md` has it. What
cannot be done is an answer too: `{"ok": false, "code": …, "error": …}`.
"""

from collections.abc import Callable
from functools import partial as bind
from typing import Protocol, TypeVar

from entrepot.control import documents
from entrepot.control import request_members as members
from entrepot.control.contents import Contents
from entrepot.control.documents import Document
from entrepot.control.request_members import Members
from entrepot.control.verifying import Verifying
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.image_names import ImageName
from entrepot.storage.errors import StoreError
from entrepot.storage.inventory.images import InventoryError
from entrepot.storage.inventory.inventory import steps
from entrepot.storage.inventory.prune import PruneRules
from entrepot.storage.inventory.removal import Removal
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.store import Store

MOST_ON_A_PAGE = 1000
_PAGE = 100
T = TypeVar("T")


class Turn(Protocol):
    """Runs a function on the thread that owns the store, and returns what it does."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Raise what the function raises."""


class Administration:
    """Answers requests, each on whichever thread it comes."""

    def __init__(
        self,
        store: Store,
        turn: Turn,
        events: Events,
        authority: Callable[[], Document] | None = None,
        *,
        proxy: str | None = None,
    ) -> None:
        """Of a proxy that runs: how it stands with its authority, and at which URL it is."""
        self._inventory = store.inventory
        self._turn = turn
        self._events = events
        self._limit = store.limit_in_force
        self._verifying = Verifying(store, turn)
        self._contents = Contents(store, turn, events)
        self._answers: dict[str, Callable[[Members], Document]] = {
            "images": self._images,
            "image": self._image,
            "registries": self._registries,
            "evicted_next": self._evicted_next,
            "remove": self._remove,
            "prune": self._prune,
            "objects": self._verifying.objects,
            "verify": self._verifying.verify,
            "locate": self._contents.locate,
            "take_blob": self._contents.take_blob,
            "take_manifest": self._contents.take_manifest,
            "imported": self._contents.imported,
            "pin": bind(self._pin, pin=True),
            "unpin": bind(self._pin, pin=False),
        }
        if authority is not None:
            self._answers["authority"] = lambda _: {"authority": authority()}
        if proxy is not None:
            self._answers["proxy"] = lambda _: {"url": proxy}

    def offer(self, do: str, answer: Callable[[Members], Document]) -> None:
        """Answer one more kind of request, which only a running proxy can."""
        self._answers[do] = answer

    def answer(self, request: object) -> Document:
        """Answer a request, whatever it is."""
        try:
            return {"ok": True, **self._done(request)}
        except ValueError as error:
            return failure("bad_request", error)
        except InventoryError as error:
            return failure(error.code, error)
        except (StoreError, TimeoutError) as error:
            return failure("failed", str(error) or "the proxy does not answer")

    def _done(self, request: object) -> Document:
        if not isinstance(request, dict):
            raise ValueError("expected a JSON object")  # noqa: TRY004 what it says is an answer
        do = members.text(request, "do")
        if do not in self._answers:
            raise ValueError(f"expected do to be one of {', '.join(self._answers)}, got {do!r}")
        return self._answers[do](request)

    def end(self) -> None:
        """Nobody asks any more for now: give back the memory."""
        self._inventory.forget()

    def _images(self, request: Members) -> Document:
        offset = members.number(request, "offset", 0, 2**53)
        most = members.number(request, "limit", _PAGE, MOST_ON_A_PAGE)
        sort = members.sort(request)
        selection = Selection.filtered(members.text(request, "filter", ""))
        found = self._inventory.page(selection, sort, offset=offset, most=most)
        end = offset + most
        left = end < found.totals.images
        document = documents.page(found, end if left else None)
        return {**document, "limit": self._limit}

    def _image(self, request: Members) -> Document:
        found = self._inventory.details(ImageName.parse(members.text(request, "name")))
        shown = found[:MOST_ON_A_PAGE]
        return {"images": [documents.image_with_objects(*one) for one in shown]}

    def _registries(self, request: Members) -> Document:
        most = members.number(request, "limit", _PAGE, MOST_ON_A_PAGE)
        return documents.registries(self._inventory.registries(most))

    def _evicted_next(self, request: Members) -> Document:
        most = members.number(request, "limit", _PAGE, MOST_ON_A_PAGE)
        return documents.next_evicted(self._inventory.next_evicted(most))

    def _remove(self, request: Members) -> Document:
        names = members.names(request)
        dry_run = request.get("dry_run") is True
        removal = self._inventory.removal(names)
        if not dry_run:
            self._carry_out(removal)
            self._events.log(
                Event.IMAGES_REMOVED,
                images=len(removal.images),
                size=removal.size,
                names=",".join(map(str, names))[:1000],
            )
        return documents.removal(removal, dry_run=dry_run)

    def _prune(self, request: Members) -> Document:
        rules = PruneRules(
            members.count(request, "keep_last"),
            members.seconds(request, "older_than"),
            members.seconds(request, "unused_for"),
        )
        text, dry_run = members.text(request, "filter", ""), request.get("dry_run") is True
        pruning = self._inventory.pruning(text, rules)
        removal = pruning.removal
        if not dry_run:
            self._carry_out(removal)
            self._events.log(
                Event.IMAGES_PRUNED,
                images=len(removal.images),
                size=removal.size,
                rules=f"{rules}{' filter=' if text else ''}{text[:200]}",
            )
        return documents.pruning(pruning, dry_run=dry_run)

    def _carry_out(self, removal: Removal) -> None:
        try:
            done = 0
            while done < steps(removal):
                done = self._turn(bind(self._inventory.remove_some, removal, done))
        finally:
            self._inventory.forget()

    def _pin(self, request: Members, *, pin: bool) -> Document:
        names = members.names(request)
        change = self._inventory.pin_change(names, self._limit, pin=pin)
        try:
            self._turn(bind(self._inventory.carry_out, change))
        finally:
            self._inventory.forget()
        self._events.log(
            Event.IMAGES_PINNED if pin else Event.IMAGES_UNPINNED,
            images=len(change.images),
            size=change.size,
            names=",".join(map(str, names))[:1000],
        )
        return documents.pins(change)


def failure(code: str, reason: object) -> Document:
    """An answer that says why nothing was done."""
    return {"ok": False, "code": code, "error": str(reason)}
