"""The requests of the last minute, read a little at a time: what a live view adds up."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from entrepot.control.documents import Document
from entrepot.observe.reading import Filter, RecordReader
from entrepot.observe.request_record import RequestRecord

WINDOW_SECONDS = 60.0
_PAGE = 1000
_MOST = 20_000
"""Requests that are looked at; of more, the latest."""


@dataclass(frozen=True, slots=True)
class Busy:
    """What one image or client had in the window; ``agent`` is a client's program."""

    name: str
    requests: int
    sent: int
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Activity:
    """What was answered in the window; ``requests`` and ``sent`` are a second's."""

    requests: float
    sent: float
    hits: int
    content: int
    images: tuple[Busy, ...]
    clients: tuple[Busy, ...]

    def document(self) -> Document:
        """As ``docs/top.schema.json`` has it."""
        told = asdict(self)
        for one in told["images"]:
            del one["agent"]
        return told


class Recent:
    """Reads what is new at each look; keeps a window of it."""

    def __init__(self, reader: RecordReader, wall: Callable[[], float]) -> None:
        self._reader = reader
        self._wall = wall
        self._newest = 0
        self._kept: deque[RequestRecord] = deque(maxlen=_MOST)

    def look(self, most: int) -> Activity:
        """What the window has now, with the ``most`` busiest. Raises ``RecordsUnreadableError``."""
        since = self._wall() - WINDOW_SECONDS
        self._read(since)
        while self._kept and self._kept[0].at < since:
            self._kept.popleft()
        kept = list(self._kept)
        return Activity(
            len(kept) / WINDOW_SECONDS,
            sum(one.sent for one in kept) / WINDOW_SECONDS,
            sum(one.is_hit for one in kept),
            sum(one.is_content for one in kept),
            _busiest(((_image(one), one) for one in kept if one.repository), most),
            _busiest(((one.client, one) for one in kept), most),
        )

    def _read(self, since: float) -> None:
        found: list[RequestRecord] = []
        before: int | None = None
        newest = self._newest
        while len(found) < _MOST:
            page = self._reader.requests(Filter(since=since), before=before, most=_PAGE)
            fresh = [one for one in page if one.number > self._newest]
            newest = max([newest, *(one.number for one in fresh)])
            found += [one.record for one in fresh]
            if len(fresh) < _PAGE:
                break
            before = fresh[-1].number
        self._newest = newest
        self._kept.extend(reversed(found))


def _image(one: RequestRecord) -> str:
    return f"{one.registry}/{one.repository}"


def _busiest(named: Iterable[tuple[str, RequestRecord]], most: int) -> tuple[Busy, ...]:
    requests: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    agents: dict[str, str] = {}
    for name, one in named:
        requests[name] += 1
        sent[name] += one.sent
        agents[name] = one.agent
    order = sorted(requests, key=lambda name: (-sent[name], -requests[name], name))
    return tuple(Busy(name, requests[name], sent[name], agents[name]) for name in order[:most])
