"""Tables for people, no wider than their terminal; sizes and times as people say them."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LEAST = 12


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: set[int], *, gives_way: int = 0
) -> None:
    """Print rows under their header; the columns ``right`` are set to the right.

    On a terminal the column ``gives_way`` gives way to its width, in its middle.
    """
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    if sys.stdout.isatty():
        rest = sum(widths) - widths[gives_way] + 2 * (len(widths) - 1)
        room = max(_LEAST, shutil.get_terminal_size().columns - rest)
        widths[gives_way] = min(widths[gives_way], room)
    for row in table:
        cells = [
            cell.rjust(width) if column in right else _fitted(cell, width).ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def print_fields(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what they are, below each other; on a terminal within its width."""
    table = list(rows)
    width = max(len(name) for name, _ in table)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for name, text in table:
        lines = [text]
        if columns is not None and len(text) + width + 2 > columns:
            room = max(_LEAST, columns - width - 2)
            lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        print(f"{name.ljust(width)}  {lines[0]}".rstrip())
        for line in lines[1:]:
            print(" " * (width + 2) + line)


def _fitted(cell: str, width: int) -> str:
    if len(cell) <= width:
        return cell
    end = (width - 1) // 2
    return f"{cell[: width - 1 - end]}…{cell[len(cell) - end :]}"


def size(count: int) -> str:
    """Bytes: `512 B`, `29.4 MiB`."""
    number, unit = float(count), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"


def count(number: int) -> str:
    """A number with its thousands apart: `12,345`."""
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """How much of it: `94%`; `-` of nothing."""
    return f"{100 * part / whole:.0f}%" if whole else "-"


def duration(seconds: float) -> str:
    """How long: `5 min`, `3 d`; below a second `0 s`."""
    for span, unit in _SPANS:
        if seconds >= span:
            return f"{int(seconds) // span} {unit}"
    return "0 s"


def told(done: int, total: int | None, seconds: float) -> str:
    """How far a transfer is: `1.2 GiB of 5.0 GiB, 31.0 MiB/s, 2 min left`."""
    rate = done / seconds if seconds > 0 else 0.0
    words = [size(done) if total is None else f"{size(done)} of {size(total)}"]
    if rate > 0 and done != total:
        words.append(f"{size(int(rate))}/s")
        if total is not None:
            words.append(f"{duration((total - done) / rate)} left")
    return ", ".join(words)


def age(text: str, now: datetime | None = None) -> str:
    """How long ago a time was, as the documents say it: `5 min`, `3 d`."""
    moment = datetime.fromisoformat(text)
    seconds = int(((now or datetime.now(UTC)) - moment).total_seconds())
    return duration(seconds) if seconds >= 1 else "now"
