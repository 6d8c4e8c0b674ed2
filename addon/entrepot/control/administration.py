"""Administration: a request in JSON in, its answer out; over the socket, or in the folder itself.

A request is an object whose member `do` says what is wanted, as `docs/images.md` has it. What
cannot be done is an answer too: `{"ok": false, "code": …, "error": …}`.
"""

from collections.abc import Callable, Mapping
from functools import partial as bind
from typing import Protocol, TypeVar

from entrepot.control import documents
from entrepot.control.documents import Document
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.image_names import ImageName
from entrepot.storage.errors import StoreError
from entrepot.storage.inventory.images import InventoryError, SortBy
from entrepot.storage.inventory.inventory import steps
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.store import Store

MOST_ON_A_PAGE = 1000
_MOST_NAMES = 1000
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
    ) -> None:
        """``authority`` says how it stands with the authority of a proxy that runs."""
        self._inventory = store.inventory
        self._turn = turn
        self._events = events
        self._limit = store.limit_in_force
        self._answers: dict[str, Callable[[Mapping[str, object]], Document]] = {
            "images": self._images,
            "image": self._image,
            "evicted_next": self._evicted_next,
            "remove": self._remove,
            "pin": bind(self._pin, pin=True),
            "unpin": bind(self._pin, pin=False),
        }
        if authority is not None:
            self._answers["authority"] = lambda _: {"authority": authority()}

    def offer(self, do: str, answer: Callable[[Mapping[str, object]], Document]) -> None:
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
        do = _text(request, "do")
        if do not in self._answers:
            raise ValueError(f"expected do to be one of {', '.join(self._answers)}, got {do!r}")
        return self._answers[do](request)

    def end(self) -> None:
        """Nobody asks any more for now: give back the memory."""
        self._inventory.forget()

    def _images(self, request: Mapping[str, object]) -> Document:
        offset = _number(request, "offset", 0, 2**53)
        most = _number(request, "limit", _PAGE, MOST_ON_A_PAGE)
        sort = _sort(request)
        selection = Selection.filtered(_text(request, "filter", ""))
        found = self._inventory.page(selection, sort, offset=offset, most=most)
        end = offset + most
        left = end < found.totals.images
        document = documents.page(found, end if left else None)
        return {**document, "limit": self._limit}

    def _image(self, request: Mapping[str, object]) -> Document:
        found = self._inventory.details(ImageName.parse(_text(request, "name")))
        shown = found[:MOST_ON_A_PAGE]
        return {"images": [documents.image_with_objects(*one) for one in shown]}

    def _evicted_next(self, request: Mapping[str, object]) -> Document:
        most = _number(request, "limit", _PAGE, MOST_ON_A_PAGE)
        return documents.next_evicted(self._inventory.next_evicted(most))

    def _remove(self, request: Mapping[str, object]) -> Document:
        names = _names(request)
        dry_run = request.get("dry_run") is True
        removal = self._inventory.removal(names)
        if not dry_run:
            try:
                done = 0
                while done < steps(removal):
                    done = self._turn(bind(self._inventory.remove_some, removal, done))
            finally:
                self._inventory.forget()
            self._events.log(
                Event.IMAGES_REMOVED,
                images=len(removal.images),
                size=removal.size,
                names=",".join(map(str, names))[:1000],
            )
        return documents.removal(removal, dry_run=dry_run)

    def _pin(self, request: Mapping[str, object], *, pin: bool) -> Document:
        names = _names(request)
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


def _text(request: Mapping[str, object], name: str, otherwise: str | None = None) -> str:
    text = request.get(name, otherwise)
    if not isinstance(text, str) or len(text) > 1000:
        raise ValueError(f"expected {name} to be a text")
    return text


def _number(request: Mapping[str, object], name: str, otherwise: int, most: int) -> int:
    number = request.get(name, otherwise)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
        raise ValueError(f"expected {name} to be a number from 0 to {most}")
    return number


def _sort(request: Mapping[str, object]) -> SortBy:
    text = _text(request, "sort", SortBy.NAME.value)
    try:
        return SortBy(text)
    except ValueError:
        raise ValueError(
            f"expected sort to be one of {', '.join(one.value for one in SortBy)}, got {text!r}"
        ) from None


def _names(request: Mapping[str, object]) -> list[ImageName]:
    names = request.get("names")
    if not isinstance(names, list) or not 0 < len(names) <= _MOST_NAMES:
        raise ValueError(f"expected names to be 1 to {_MOST_NAMES} names of images")
    return [ImageName.parse(name if isinstance(name, str) else "") for name in names]
