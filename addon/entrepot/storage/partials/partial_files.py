"""The files of unfinished downloads and pushes: what they are named, and how long they are kept.

What each of them may take is in ``capacity``.
"""

import tempfile
from pathlib import Path

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.storage.errors import Health, guarded
from entrepot.storage.partials.map_file import map_of, mapped_by

_PUSHED = "push-"
"""Begins the names of unfinished pushes: they end with the process that took them in."""
_IMPORTED = f"{_PUSHED}import-"
"""Begins the names of what an import has read and not handed over."""
_KEPT_SECONDS = 7 * 24 * 3600.0
"""How long an unfinished download waits to be continued."""


def import_file(folder: Path) -> tuple[int, Path]:
    """Make a file in a data folder for what an import reads, and open it. Raises OSError."""
    file, name = tempfile.mkstemp(".part", _IMPORTED, folder / "partial")
    return file, Path(name)


class PartialFiles:
    """The folder ``partial``."""

    def __init__(self, folder: Path, health: Health) -> None:
        self.folder = folder
        self._health = health

    def download(self, origin: Origin, digest: Digest) -> Path:
        """Where an unfinished download of ``digest`` from ``origin`` lies.

        One for each registry: what a hostile one began must not spoil another's.
        """
        owner = Digest.of(str(origin).encode()).hex[:16]
        return self.folder / f"{digest.algorithm}-{digest.hex}-{owner}.part"

    @guarded
    def draft(self) -> tuple[int, Path]:
        """Make a file for what a client pushes, and open it; its owner closes and removes it."""
        file, name = tempfile.mkstemp(".part", _PUSHED, self.folder)
        return file, Path(name)

    def imported(self, name: str) -> Path:
        """The file of an import, by its name; ValueError where it is not such a name."""
        if not name.startswith(_IMPORTED) or "/" in name or "\0" in name:
            raise ValueError(f"expected the name of a file that was read, got {name!r}")
        return self.folder / name

    @guarded
    def try_to_write(self) -> None:
        """Write a byte into a file that has no name, where the file system has such files."""
        with tempfile.TemporaryFile(dir=self.folder, buffering=0) as file:
            file.write(b"0")

    def remove_old(self, now: float) -> None:
        """Remove unfinished pushes, downloads that nobody continued for a week, and empty ones.

        And maps of files that are not there. For the start; ``now`` is the time of day. Raises
        OSError.
        """
        for path in self.folder.iterdir():
            state = path.lstat()
            is_old = state.st_mtime < now - _KEPT_SECONDS
            if mapped_by(path) is not None:
                continue
            if path.name.startswith(_PUSHED) or is_old or state.st_size == 0:
                path.unlink()
        for path in self.folder.iterdir():
            file = mapped_by(path)
            if file is not None and not (file.exists() and path == map_of(file)):
                path.unlink()
