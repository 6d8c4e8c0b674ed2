"""Bars of progress on a terminal: one for each task, and one for their sum."""

import sys
from collections.abc import Callable, Hashable
from typing import TextIO, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

from entrepot.cli.frame.text_table import told

Count: TypeAlias = Callable[[], tuple[int, int | None]]
"""How many bytes are done, and of how many."""

_REFRESHES = 8
"""A second."""
_SHARE = 2
"""Of the width that is left, for names; the bars have one part."""


class Bars:
    """Drawn from their tasks a few times a second, until :meth:`stop`; then they are gone."""

    def __init__(self, what: str, count: Count, stream: TextIO) -> None:
        self._rows = RichProgress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=_SHARE, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _Told(),
            console=Console(file=stream),
            refresh_per_second=_REFRESHES,
            transient=True,
            expand=True,
            redirect_stdout=sys.stdout.isatty(),  # else results would go where the bars go
        )
        self._rows.add_task(what, total=None, count=count)
        self._row_of: dict[Hashable, TaskID] = {}
        self._rows.start()

    def add(self, task: Hashable, name: str, count: Count) -> None:
        """Give a task its bar."""
        self._row_of[task] = self._rows.add_task(name, total=None, count=count)

    def remove(self, task: Hashable) -> None:
        """Take it away."""
        self._rows.remove_task(self._row_of.pop(task))

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self._rows.stop()


class _Told(ProgressColumn):
    """How far a row is, in the words of a line; reading it brings the row up to date."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True, justify="right"))

    def render(self, task: Row) -> Text:
        done, total = task.fields["count"]()
        task.completed, task.total = done, total
        return Text(told(done, total, task.elapsed or 0.0))
