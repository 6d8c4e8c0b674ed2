"""The unfinished files of downloads and pushes, and what each of them may take."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

_PACE_SECONDS = 60.0


@dataclass(slots=True)
class Hold:
    """What one file may take. Times are seconds of a clock that is never set, sizes bytes."""

    began: float
    start: int = 0
    """What it had at the beginning."""
    granted: int = 0
    written: int = 0
    """What it had at the last claim."""
    announced: int | None = None
    used: float = 0.0
    """When it last claimed."""
    lost: Callable[[], None] | None = None
    """Called when a draft gives way; None while it must not."""

    def expected(self, now: float, head_start: int) -> int:
        """What it will have in a minute, at the pace that it had so far."""
        pace = (self.written - self.start) / max(now - self.began, 1.0)
        length = self.written + head_start + int(pace * _PACE_SECONDS)
        return max(self.granted, length if self.announced is None else min(length, self.announced))

    def within(self, end: int, goal: int) -> int:
        """``goal``, at least ``end``, but not beyond what is announced."""
        return goal if self.announced is None else max(end, min(goal, self.announced))


class Holds:
    """Files by path, the one longest unused first, and their sums."""

    def __init__(self) -> None:
        self.by_path: OrderedDict[Path, Hold] = OrderedDict()
        self.granted = 0
        self.unwritten = 0

    def set(self, path: Path, file: Hold, granted: int, written: int) -> None:
        """Give a file, new or known, so many bytes."""
        self.pop(path)
        file.granted, file.written = granted, min(written, granted)
        self.granted += file.granted
        self.unwritten += file.granted - file.written
        self.by_path[path] = file

    def pop(self, path: Path) -> Hold | None:
        """Take a file out."""
        file = self.by_path.pop(path, None)
        if file is not None:
            self.granted -= file.granted
            self.unwritten -= file.granted - file.written
        return file

    def loose(self, unused_since: float = inf) -> int:
        """Bytes of drafts that may give way, and claimed nothing since a time."""
        files = self.by_path.values()
        return sum(f.granted for f in files if f.lost is not None and f.used <= unused_since)
