"""What goes wrong with a disk, a folder or a database: for callers, and for the administrator.

Callers see :class:`StoreError` alone and go on without the store: a failure of the cache is never
a failure of the pull. Its text is for the administrator and needs no Python to be understood: no
exception's name, no ``[Errno 13]``.
"""

import errno
import functools
import sqlite3
from collections.abc import Callable
from enum import Enum
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import diskcache

_OF_THE_SYSTEM = {
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EIO: "the disk does not work",
    errno.EEXIST: "something that is no folder is there",
    errno.ENOTDIR: "something that is no folder is there",
}
DAMAGED = "the database is damaged; a restart sets it aside and begins a new one"
_ROW = "a row of the database is damaged"
_OF_SQLITE = {
    sqlite3.SQLITE_BUSY: "another process holds the database",
    sqlite3.SQLITE_LOCKED: "another process holds the database",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_IOERR: "the database's file cannot be read or written",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_ERROR: DAMAGED,  # a table or a column that is missing
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "the database's file cannot be opened",
}
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGE = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}
)


class StoreError(Exception):
    """The disk or the database does not do its work; the pull must go on without it."""


class StoreBusyError(StoreError):
    """Another process holds the database; waiting again would take as long."""


class StoreTrouble(Enum):
    """Why nothing can be stored now, as a monitor is told; each with a sentence for it."""

    STORE_BUSY = "another process holds the database, or the disk hangs"
    STORE_FAILED = "the disk or the database does not work"
    DISK_FULL = "the disk is full"
    READ_ONLY = "the data folder cannot be written"

    @classmethod
    def of(cls, error: StoreError) -> "StoreTrouble":
        """Which of them an error of :func:`guarded` is."""
        if isinstance(error, StoreBusyError):
            return cls.STORE_BUSY
        cause = error.__cause__
        if isinstance(cause, sqlite3.Error):
            return _TROUBLE_OF_SQLITE.get(sqlite_code(cause) or 0, cls.STORE_FAILED)
        number = cause.errno if isinstance(cause, OSError) else None
        return _TROUBLE_OF_THE_SYSTEM.get(number or 0, cls.STORE_FAILED)


_TROUBLE_OF_THE_SYSTEM = {
    errno.ENOSPC: StoreTrouble.DISK_FULL,
    errno.EDQUOT: StoreTrouble.DISK_FULL,
    errno.EROFS: StoreTrouble.READ_ONLY,
    errno.EACCES: StoreTrouble.READ_ONLY,
    errno.EPERM: StoreTrouble.READ_ONLY,
}
_TROUBLE_OF_SQLITE = {
    sqlite3.SQLITE_FULL: StoreTrouble.DISK_FULL,
    sqlite3.SQLITE_READONLY: StoreTrouble.READ_ONLY,
}


class Health:
    """Whether the databases showed no damage since they were opened.

    Those that did are read as a whole at the next start (``startup.clean_shutdown``).
    """

    def __init__(self) -> None:
        self.sound = True


class _Part(Protocol):
    """A part of the store."""

    _health: Health


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=_Part)


def guarded(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Turn what disks and databases raise in a part's method into :class:`StoreError`."""

    def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except (diskcache.Timeout, OSError, sqlite3.Error) as error:
            self._health.sound = self._health.sound and not is_damage(error)
            busy = isinstance(error, diskcache.Timeout) or sqlite_code(error) in _BUSY
            raise (StoreBusyError if busy else StoreError)(storage_reason(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            # What a row damaged at rest makes of its reader.
            raise StoreError(storage_reason(error)) from error

    return functools.update_wrapper(guarded, method)


def storage_reason(error: BaseException) -> str:
    """Why the store could not do something."""
    if isinstance(error, diskcache.Timeout):
        return _OF_SQLITE[sqlite3.SQLITE_BUSY]
    if isinstance(error, sqlite3.Error):
        code = sqlite_code(error)
        return _ROW if code is None else _OF_SQLITE.get(code, "the database does not work")
    if isinstance(error, OSError):
        return _system_reason(error)
    return _ROW


def sqlite_code(error: BaseException) -> int | None:
    """SQLite's primary result code; None where Python itself could not read a row's text."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether an error says that a database is damaged."""
    return isinstance(error, sqlite3.DatabaseError) and sqlite_code(error) in _DAMAGE


def _system_reason(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    reason = _OF_THE_SYSTEM.get(error.errno or 0, error.strerror.lower())
    return f"{reason}: {str(error.filename)!r}" if error.filename else reason
