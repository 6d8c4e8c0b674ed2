"""Progress on standard error: a bar on a terminal, and nothing where nobody looks."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Says that so many bytes more are done."""


@contextmanager
def bar(text: str, total: int) -> Iterator[Advance]:
    """A bar for ``total`` bytes with its rate and its ETA, which goes when it is done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 only where somebody looks
    from rich.progress import (  # noqa: PLC0415 the same
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(text, total=total)
        yield lambda size: progress.advance(task, size)
