"""How diskcache keeps keys and values, without pickle and without a copy.

diskcache's own ``Disk`` pickles whatever it does not know, and unpickles whatever the
database says is a pickle: a writer of the folder could run code (CVE-2025-69872). This one
knows text and bytes, and refuses the rest both ways. A finished download is taken over by
rename: ``set(read=True)`` of the original would copy it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_PICKLE, UNKNOWN

_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")


@dataclass(slots=True)
class FinishedFile:
    """A whole file of ``size`` bytes on the same filesystem, to become a value by rename."""

    path: Path
    size: int
    taken: Path | None = None
    """Where it has gone."""

    def withdraw(self) -> None:
        """Remove it where no row came of it: else it takes room that nothing counts."""
        if self.taken is not None:
            self.taken.unlink(missing_ok=True)


class PickleRefusedError(ValueError):
    """A key or value is, or would have to be, a pickle."""


class SafeDisk(diskcache.Disk):  # type: ignore[misc]
    """A ``Disk`` for text keys and for text, bytes and :class:`FinishedFile` values.

    File names stay diskcache's random ones: setting a key again removes the previous value's
    file, so a file named after its key would remove itself.
    """

    def put(self, key: Any) -> tuple[Any, bool]:
        """Take a text key as it is."""
        if type(key) is not str:
            raise PickleRefusedError(f"a key of type {type(key).__name__}, want str")
        return key, True

    def get(self, key: Any, raw: bool) -> Any:  # noqa: FBT001 diskcache's signature
        """Give a text key back."""
        if not raw:
            raise PickleRefusedError("the database holds a pickled key")
        return super().get(key, raw)

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[Any, ...]:  # noqa: FBT001 diskcache's signature
        """Turn a value into the columns (size, mode, filename, value)."""
        if isinstance(value, FinishedFile):
            filename, full_path = self.filename(key, value)
            Path(full_path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            value.taken = value.path.rename(full_path)
            return value.size, MODE_BINARY, filename, None
        if read or type(value) not in (bytes, str):
            raise PickleRefusedError(f"a value of type {type(value).__name__}, want bytes or str")
        columns: tuple[Any, ...] = super().store(value, read, key=key)
        return columns

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:  # noqa: FBT001 diskcache's signature
        """Turn columns back into a value, or into an open file where ``read``."""
        if mode == MODE_PICKLE:
            raise PickleRefusedError("the database holds a pickled value")
        _check_name(filename)
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: str) -> None:
        """Remove a value's file."""
        _check_name(file_path)
        super().remove(file_path)


def is_value_name(filename: str) -> bool:
    """Whether diskcache would have given this name."""
    return _NAME.fullmatch(filename) is not None


def _check_name(filename: str | None) -> None:
    """Refuse a name from the database that diskcache would not have given."""
    if filename is not None and not is_value_name(filename):
        raise ValueError(f"the database names the file {filename!r}, want aa/bb/<28 hex>.val")
