"""``entrepot restore``: a backup put back into a data folder, before a proxy serves from it."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.backup import backup_file
from entrepot.cli.data_owner import as_owner
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.config.settings import Config
from entrepot.storage.startup.copies import pinned_names, problem_of
from entrepot.storage.startup.data_folder import FORMAT, lock
from entrepot_ca import AuthorityError, load

_STDIN = "-"
_PLACES = (("data/ca", "ca"), (backup_file.INDEX, "index/cache.db"), ("data/records.db",) * 2)
_REPLACED = ("ca", "index", "records.db", "records.db-wal", "records.db-shm", "clean")
_ONCE = ("ca/mitmproxy-ca.pem", "index/cache.db")
"""What a folder that is new has not."""
_RESTORED_SETTINGS = "restored-entrepot.toml"
_FILE = typer.Argument(metavar="FILE|-", help="what entrepot backup wrote")
_FORCE = typer.Option("--force", help="in the place of what is there, which is kept beside")


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="The folder must have no authority and no index yet, unless --force, and no proxy may"
    " run on it. Nothing is changed before the whole backup is known to be sound. Images are not in"
    " it: those that were pinned are named, to be pulled and pinned again.",
    examples=(
        ("entrepot restore entrepot-backup.tgz", "into a new data folder"),
        ("entrepot restore backup.tgz --force", "in the place of what is there"),
    ),
)
def restore(
    config: Config,
    form: str,
    file: Annotated[str, _FILE],
    *,
    force: Annotated[bool, _FORCE] = False,
) -> None:
    """Put it back. Raises ``StartError``."""
    data = config.data
    with _opened(file) as source, _locked(data), as_owner(data):
        there = [
            name for name in ("ca/mitmproxy-ca.pem", "index/cache.db") if (data / name).exists()
        ]
        if there and not force:
            raise StartError(f"{str(data)!r} has {' and '.join(there)} already; see --force")
        with tempfile.TemporaryDirectory(prefix="restore-", dir=data) as name:
            try:
                done = _restored(source, Path(name), data)
            except StartError as error:
                raise StartError(f"{file}: {error}") from None
    if form != "table":
        print_document({"data": str(data), **done}, form)
        return
    for name in done["restored"]:
        print(f"restored {name}")
    if done["replaced"]:
        print(f"what was there is in {done['replaced']}", file=sys.stderr)
    for image in done["pinned"]:
        print(f"was pinned: {image}; entrepot warm and entrepot pin again", file=sys.stderr)


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == _STDIN:
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as opened:
        yield opened


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the folder, which is made where it is not there, against a proxy. ``StartError``."""
    is_new = not data.exists()
    try:
        descriptor = lock(data)
    except OSError as error:
        raise StartError(f"data folder {str(data)!r}: {error}; stop the proxy first") from None
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                (data / "lock").unlink()
                data.rmdir()
        raise
    finally:
        os.close(descriptor)


def _restored(source: IO[bytes], folder: Path, data: Path) -> dict[str, Any]:
    """Read, look at all of it, and then put it where it belongs."""
    names = backup_file.read(source, folder)
    _check(folder, names)
    replaced = _set_aside(data)
    restored = []
    for name, place in _PLACES:
        if (folder / name).exists():
            (data / place).parent.mkdir(mode=0o700, exist_ok=True)
            (folder / name).rename(data / place)
            restored.append(place)
    (data / "format").write_text(f"{FORMAT}\n")
    if backup_file.SETTINGS in names:
        (folder / backup_file.SETTINGS).rename(data / _RESTORED_SETTINGS)
        restored.append(_RESTORED_SETTINGS)
    index = data / "index/cache.db"
    return {
        "restored": restored,
        "replaced": None if replaced is None else str(replaced),
        "pinned": pinned_names(index) if index.exists() else [],
    }


def _check(folder: Path, names: set[str]) -> None:
    """Refuse what could not be served from. Raises ``StartError``."""
    if backup_file.DESCRIPTION not in names or backup_file.DATA_FORMAT not in names:
        raise StartError(f"it is no backup: it has no {backup_file.DESCRIPTION}")
    try:
        description = json.loads((folder / backup_file.DESCRIPTION).read_bytes())
        found = description["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise StartError(f"it is no backup: {backup_file.DESCRIPTION} cannot be read") from None
    data_format = (folder / backup_file.DATA_FORMAT).read_text(errors="replace").strip()
    if found != backup_file.FORMAT or data_format != FORMAT:
        raise StartError("another version wrote it; restore it by that one")
    if any(name.startswith(f"{backup_file.CA}/") for name in names):
        try:
            load(folder / backup_file.CA)
        except AuthorityError as error:
            raise StartError(str(error).replace(f"{folder}/data/", "")) from None
    for name in (backup_file.INDEX, backup_file.RECORDS):
        if name in names and (problem := problem_of(folder / name)) is not None:
            raise StartError(f"{name} in it is damaged: {problem}")


def _set_aside(data: Path) -> Path | None:
    """Move what is replaced into a folder of its own; which, if there was anything."""
    there = [name for name in _REPLACED if (data / name).exists()]
    if not there:
        return None
    place = data / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    place.mkdir(mode=0o700)
    for name in there:
        (data / name).rename(place / name)
    return place
