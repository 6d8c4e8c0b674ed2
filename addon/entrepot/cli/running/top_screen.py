"""The screen of ``entrepot top``: a page of tables that is drawn anew at each look."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from entrepot.cli.frame.text_table import age, share, size
from entrepot.cli.running.recent import WINDOW_SECONDS
from entrepot.cli.running.status import download_row
from entrepot.control.documents import Document

_STYLES = {"ok": "green", "degraded": "yellow", "failing": "bold red"}
_HEAD_LINES = 7
_END_KEYS = frozenset("qQ\x03\x1b")


def watch(look: Callable[[], Document], delay: float) -> bool:
    """Draw until q or ^C; False where there is no terminal to draw on."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        return False
    with (
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live,
    ):
        try:
            while True:
                live.update(page(look(), console.size.height), refresh=True)
                if pressed(delay) in _END_KEYS:
                    return True
        except KeyboardInterrupt:
            return True


def print_once(told: Document) -> None:
    """Print the whole page, where it is no terminal."""
    Console(width=None if sys.stdout.isatty() else 120).print(page(told, None))


def page(told: Document, height: int | None) -> RenderableType:
    """All of it, within so many lines; None for as many as there are."""
    tables = [
        _Rows(
            "Downloads",
            ("IMAGE", "LAYER", "DONE", "OF", "RATE", "LEFT", "WAITING"),
            [_download(one) for one in told["downloads"]],
        ),
        _busy("Images", told["last_minute"]["images"]),
        _busy("Clients", told["last_minute"]["clients"]),
    ]
    room = None if height is None else max(3, height - _HEAD_LINES)
    return Group(_head(told), *_fitted(tables, room))


def _head(told: Document) -> Text:
    now, minute = datetime.now(UTC), told["last_minute"]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("entrepot ", "bold").append(told["version"])
    text.append(f", up {age(told['started'], now)}, ")
    text.append(told["status"], _STYLES[told["status"]])
    if told["reasons"]:
        text.append(f": {told['reasons'][0]['reason']}")
    usage = told["usage"]
    if usage is not None:
        held, limit = usage["held"], usage["limit"]
        text.append(f"\nheld {size(held)} of {size(limit)} ({share(held, limit)})")
        text.append(f", {size(usage['free'])} free on the disk")
    fetched = sum(one["rate"] for one in told["downloads"])
    text.append(f"\n{minute['requests']:.1f} requests/s, {size(int(minute['sent']))}/s to clients")
    text.append(f", {size(fetched)}/s from upstream")
    text.append(f", {share(minute['hits'], minute['content'])} hits in the last minute")
    waiting = sum(one["waiting"] for one in told["downloads"])
    text.append(f"\ndownloads: {len(told['downloads'])}, clients that wait: {waiting}")
    strangers = {one["client"] for one in told["untrusting_clients"]}
    if strangers:
        text.append(f", clients that do not trust the CA: {len(strangers)}", "yellow")
    return text


def _download(one: Document) -> list[str]:
    row = download_row(one)
    if one["size"]:
        row[3] = f"{row[3]} {share(one['done'], one['size']):>4}"
    return row


def _busy(title: str, found: Sequence[Document]) -> "_Rows":
    rows = [
        [
            one["name"],
            str(one["requests"]),
            size(one["sent"]),
            f"{size(int(one['sent'] / WINDOW_SECONDS))}/s",
            *([one["agent"][:40]] if "agent" in one else []),
        ]
        for one in found
    ]
    header = [title[:-1].upper(), "REQUESTS", "SENT", "RATE"]
    if title == "Clients":
        header.append("PROGRAM")
    return _Rows(f"{title}, last minute", header, rows)


class _Rows:
    """A table that is not cut to the screen yet."""

    def __init__(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.title, self.header, self.rows = title, header, rows

    def cut(self, most: int) -> Table:
        """As much of it as has room."""
        table = Table(
            title=self.title, title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        for number, name in enumerate(self.header):
            left = number == 0 or name in ("PROGRAM", "LAYER")
            table.add_column(
                Text(name, "dim"),
                justify="left" if left else "right",
                no_wrap=number > 0,  # the name gives way first
            )
        for row in self.rows[:most]:
            cells = (Text(cell, no_wrap=True, overflow="ellipsis") for cell in row)
            table.add_row(*cells)
        return table


def _fitted(tables: Sequence[_Rows], room: int | None) -> Iterator[RenderableType]:
    """Those that have rows, the room shared among them, the first served first."""
    left = [one for one in tables if one.rows]
    while left:
        share_of_one = 1000 if room is None else max(1, room // len(left) - 3)
        one = left.pop(0)
        yield Text("")
        yield one.cut(share_of_one)
        if room is not None:
            room -= 3 + min(share_of_one, len(one.rows))


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """What waits for a key, at most so many seconds; nothing where there is no keyboard."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 1).decode(errors="replace") if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(seconds: float) -> str:
    select.select([], [], [], seconds)
    return ""
