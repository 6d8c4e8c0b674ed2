"""A data folder of an earlier version, unpacked as if that version had run a moment ago."""

import json
import re
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_EPOCH = re.compile(r"\b1[789]\d{8}\.\d+\b")
"""A time of day in a row, in seconds."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image that the old version pulled: digests, that of the tag last among the manifests."""

    name: str
    manifests: tuple[str, ...]
    blobs: tuple[str, ...]

    @property
    def base(self) -> str:
        netloc, _, rest = self.name.partition("/")
        return f"https://{netloc}/v2/{rest.rpartition(':')[0]}"

    @property
    def tag(self) -> str:
        return self.name.rpartition(":")[2]


def unpack(archive: Path, target: Path) -> tuple[Pulled, ...]:
    """Unpack into the folder ``target``; what was pulled."""
    target.mkdir()
    with tarfile.open(archive) as tar:
        made = max(member.mtime for member in tar) + 1
        tar.extractall(target, filter="tar")
    for file in list((target / "data").iterdir()):
        file.rename(target / file.name)
    (target / "data").rmdir()
    for name in ("blobs", "index"):
        _move_times(target / name / "cache.db", time.time() - made)
    listed = target / "pulled.json"
    found = json.loads(listed.read_text())
    listed.unlink()
    return tuple(
        Pulled(name, tuple(one["manifests"]), tuple(one["blobs"])) for name, one in found.items()
    )


def _move_times(database: Path, seconds: float) -> None:
    """Rows expire by the time of day: the folder is to be as old in a year as it is now."""
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = ("store_time", "expire_time", "access_time")
        moved = ", ".join(f"{name} = {name} + :seconds" for name in columns)
        connection.execute(f"UPDATE Cache SET {moved}", {"seconds": seconds})  # noqa: S608 of constants
        connection.executemany(
            "UPDATE Cache SET value = ? WHERE rowid = ?", _moved_values(connection, seconds)
        )


def _moved_values(connection: sqlite3.Connection, seconds: float) -> Iterator[tuple[str, int]]:
    rows = connection.execute("SELECT rowid, value FROM Cache WHERE typeof(value) = 'text'")
    for number, value in rows.fetchall():
        yield _EPOCH.sub(lambda found: repr(float(found[0]) + seconds), value), number
