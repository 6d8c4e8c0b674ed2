"""The records of a data folder, as commands read them: beside the proxy that writes them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.data_owner import become_owner
from entrepot.config.units import parse_duration
from entrepot.observe.database import FILE_NAME
from entrepot.observe.reading import RecordReader, RecordsUnreadableError

EVER = "all"
SINCE_HELP = "so far back: 90min, 7d, or all"


@contextmanager
def records_of(folder: Path) -> Iterator[RecordReader]:
    """Who reads the records of a folder. Raises ``StartError`` where nobody can."""
    if not folder.is_dir():
        raise StartError(f"data folder {str(folder)!r}: there is none; see --data")
    become_owner(folder)
    if not (folder / FILE_NAME).exists():
        print("no request was recorded yet; see --record", file=sys.stderr)
    try:
        yield RecordReader(folder)
    except RecordsUnreadableError as error:
        raise StartError(f"the records of {folder}: {error}") from error


def began(since: str, now: float) -> float:
    """When a time began that lasts until now; 0 for all that ever was."""
    if since == EVER:
        return 0.0
    try:
        return now - parse_duration(since)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or {EVER}", param_hint="--since") from None
