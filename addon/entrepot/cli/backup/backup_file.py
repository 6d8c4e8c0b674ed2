"""The format of a backup: a tar of a few files with fixed names, compressed with gzip.

| name | what it is |
| --- | --- |
| `backup.json` | when it was made, by which version, what it has; files that it does not have |
| `data/format` | the format of the data folder |
| `data/ca/…` | the authority, with its private key |
| `data/index/cache.db` | who was given what, tags, registries, pins |
| `data/records.db` | records of requests, if there are any |
| `settings/entrepot.toml` | the configuration file, if one is used |

It is read with the same suspicion as any tar: other names, links and sparse files are refused.
"""

import re
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from entrepot.app.start_error import StartError
from entrepot.cli.archive.tar_reader import BoundedMember

FORMAT = 1
DESCRIPTION = "backup.json"
SETTINGS = "settings/entrepot.toml"
INDEX = "data/index/cache.db"
RECORDS = "data/records.db"
DATA_FORMAT = "data/format"
CA = "data/ca"
_NAMES = re.compile(
    r"backup\.json|settings/entrepot\.toml|data/format|data/records\.db|data/index/cache\.db"
    r"|data/ca/[A-Za-z0-9][A-Za-z0-9._-]{0,100}",
    re.ASCII,
)
_MOST_MEMBERS = 1000


def write(out: IO[bytes], folder: Path, names: Iterable[str]) -> None:
    """Write the files of a folder that have these names."""
    with tarfile.open(fileobj=out, mode="w|gz", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            state = (folder / name).stat()
            member.size, member.mode, member.mtime = state.st_size, 0o600, int(state.st_mtime)
            with (folder / name).open("rb") as content:
                archive.addfile(member, content)


def read(source: IO[bytes], folder: Path) -> set[str]:
    """Put the files of a backup into an empty folder; their names. Raises ``StartError``."""
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=source, mode="r|*", tarinfo=BoundedMember) as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise StartError("it is no backup: it has too many files")
                _check(member, names, folder)
                _keep(archive.extractfile(member), member, folder)
                names.add(member.name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise StartError(f"it is no whole backup: {error}") from None
    return names


def _keep(content: IO[bytes] | None, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder / member.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as out:
        path.chmod(0o600)
        if content is not None:
            shutil.copyfileobj(content, out)
    if path.stat().st_size != member.size:
        raise EOFError("it is cut")


def _check(member: tarfile.TarInfo, names: set[str], folder: Path) -> None:
    shown = repr(member.name[:200])
    if not _NAMES.fullmatch(member.name):
        raise StartError(f"it is no backup: {shown} is in it")
    if not member.isreg() or member.issparse() or member.name in names:
        raise StartError(f"it is no backup: {shown} is no plain file, or there twice")
    if member.size > shutil.disk_usage(folder).free:
        raise StartError(f"the disk has no room for {shown}, {member.size} bytes")
