"""What is wrong with a disk, a folder or a database, in words for the administrator.

A line must not need Python to be understood: no exception's name, no ``[Errno 13]``.
"""

import errno
import sqlite3

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


def _system_reason(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    reason = _OF_THE_SYSTEM.get(error.errno or 0, error.strerror.lower())
    return f"{reason}: {str(error.filename)!r}" if error.filename else reason
