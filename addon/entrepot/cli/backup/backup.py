"""``entrepot backup``: what cannot be had again, in one file, while the proxy runs or not."""

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.archive.export import STDOUT, written
from entrepot.cli.backup import backup_file
from entrepot.cli.data_owner import as_owner
from entrepot.cli.frame.definition import FOLDER, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import size
from entrepot.config.registry_tables import PasswordFile
from entrepot.config.settings import Config
from entrepot.observe.database import FILE_NAME as RECORDS
from entrepot.storage.startup.copies import copy_database, pinned_names
from entrepot.version import VERSION

WARNING = (
    "the private key of the authority is in it: who has this file can pretend to be any host to"
    " your clients, so keep it as you keep that key"
)
_OUTPUT = typer.Option("-o", "--output", metavar="FILE|-", help="write it here, or to stdout")
_JSON = typer.Option("--json", help="say what was written as JSON")


@command(
    settings=FOLDER,
    details="The authority with its private key, what the cache knows (who was given what, tags,"
    " registries, pins), records of requests and the configuration file; no images, which can be"
    " pulled again, and no password files. It is as of one moment, also while the proxy runs, and"
    " has mode 0600. " + WARNING[:1].upper() + WARNING[1:] + ".",
    examples=(
        ("entrepot backup -o entrepot-backup.tgz", "to a file"),
        ("entrepot backup --config /etc/entrepot.toml -o backup.tgz", "with that file"),
    ),
)
def backup(
    config: Config,
    given: dict[str, object],
    *,
    output: Annotated[str, _OUTPUT],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Write it. Raises ``StartError``."""
    if output == STDOUT and as_json:
        raise typer.BadParameter("the backup goes to stdout already", param_hint="--json")
    if output == STDOUT and sys.stdout.isatty():
        raise StartError("a backup is not for a terminal; name a file by -o FILE")
    if not (config.data / "format").exists():
        raise StartError(f"data folder {str(config.data)!r}: there is none; see --data")
    settings = Path(str(given["config"])).expanduser() if "config" in given else None
    with written(output) as out, _collected(config, settings) as (folder, names):
        backup_file.write(out, folder, names)
        count = sum((folder / name).stat().st_size for name in names)
    if as_json:
        print_document({"file": output, "size": count, "contents": names}, "json")
    else:
        print(f"backed up {len(names)} files, {size(count)}", file=sys.stderr)
    print(f"keep it safe: {WARNING}", file=sys.stderr)


@contextmanager
def _collected(config: Config, settings: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """A folder with copies of all of it, and their names; it is gone then."""
    content = None if settings is None else settings.read_bytes()
    with (
        as_owner(config.data),
        tempfile.TemporaryDirectory(prefix="backup-", dir=config.data) as name,
    ):
        folder = Path(name)
        for below in ("data/ca", "data/index", "settings"):
            (folder / below).mkdir(parents=True)
        shutil.copyfile(config.data / "format", folder / backup_file.DATA_FORMAT)
        names = [backup_file.DATA_FORMAT, *_copy_authority(config.data, folder)]
        if (config.data / "index/cache.db").exists():
            copy_database(config.data / "index/cache.db", folder / backup_file.INDEX)
            names.append(backup_file.INDEX)
        if (config.data / RECORDS).exists():
            copy_database(config.data / RECORDS, folder / backup_file.RECORDS)
            names.append(backup_file.RECORDS)
        if content is not None:
            (folder / backup_file.SETTINGS).write_bytes(content)
            names.append(backup_file.SETTINGS)
        described = _description(config, settings, folder, names)
        (folder / backup_file.DESCRIPTION).write_text(json.dumps(described, indent=1))
        yield folder, [backup_file.DESCRIPTION, *names]


def _copy_authority(data: Path, folder: Path) -> list[str]:
    """Copy the files of the authority, which nobody changes meanwhile; their names."""
    source = data / "ca"
    if not source.is_dir():
        return []
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        names = sorted(path.name for path in source.iterdir() if path.is_file())
        for name in names:
            shutil.copyfile(source / name, folder / backup_file.CA / name)
    finally:
        os.close(descriptor)
    return [f"{backup_file.CA}/{name}" for name in names]


def _description(
    config: Config, settings: Path | None, folder: Path, names: list[str]
) -> dict[str, object]:
    index = folder / backup_file.INDEX
    return {
        "format": backup_file.FORMAT,
        "version": VERSION,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": str(config.data),
        "contents": names,
        "settings": None if settings is None else str(settings),
        "not_contained": _not_contained(config),
        "pinned": pinned_names(index) if index.exists() else [],
    }


def _not_contained(config: Config) -> list[str]:
    """The files that the settings name, which are somebody else's to back up."""
    sources = (account.source for table in config.accounts for _, account in table.accounts)
    files = {source.file for source in sources if isinstance(source, PasswordFile)}
    files |= {
        file
        for file in (config.docker_config, config.registry_config, config.upstream_ca)
        if file is not None
    }
    return sorted(map(str, files))
