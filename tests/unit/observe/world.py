"""Records as they come from the proxy, and a database for them on a real disk."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from entrepot.events.log import Events
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import RecordReader
from entrepot.observe.record_store import RecordStore
from entrepot.observe.request_record import RequestRecord, Road
from entrepot.observe.retention import Retention

NOON = 1_790_000_040.0
"""A time of day, 40 s into a minute."""
DIGEST = "sha256:" + "a" * 64
DAY = 86400.0

BLOB = RequestRecord(
    at=NOON,
    client="10.0.0.9",
    agent="docker/26.1",
    road=Road.PROXY,
    registry="docker.io",
    kind="blob",
    repository="library/alpine",
    reference=DIGEST,
    method="GET",
    status=200,
    answered="hit",
    outcome=Outcome.HIT,
    why="held",
    cut="",
    sent=1000,
    from_disk=1000,
    from_upstream=0,
    first_byte_ms=3,
    total_ms=9,
)
TAG = replace(BLOB, kind="manifest", reference="3", sent=10, answered="hit; detail=revalidated")


@dataclass
class World:
    """A store of records in a folder, and clocks that go when they are told to."""

    folder: Path
    seconds: float = 30 * DAY
    size: int = 2**30
    now: float = NOON
    events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        self.begin()
        self.reader = RecordReader(self.folder)

    def begin(self) -> None:
        """Open it as another process would after an end."""
        self.store = RecordStore(
            self.folder,
            self.events,
            Retention(self.seconds, self.size),
            clock=lambda: self.now,
            wall=lambda: self.now,
        )

    def write(self, *records: RequestRecord) -> None:
        self.store.write(records)

    def keep_up(self) -> int:
        """Do all the upkeep that is due; in how many turns."""
        turns = 1
        while self.store.upkeep():
            turns += 1
        return turns

    def shown(self) -> list[RequestRecord]:
        """All records that are there, the first first."""
        return [stored.record for stored in reversed(self.reader.requests(most=1000))]


def at_each(record: RequestRecord, times: Sequence[float]) -> list[RequestRecord]:
    """The same request again and again."""
    return [replace(record, at=time) for time in times]
