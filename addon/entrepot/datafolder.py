"""The data folder: one process, one format, two databases, and what a kill leaves behind.

Layout: ``lock``, ``format``, ``ca/`` (the authority), ``blobs/`` and ``index/`` (diskcache),
``partial/`` (unfinished downloads), ``upstream-ca.pem`` (roots for mitmproxy). Folders are 0700
and files 0600.
"""

import fcntl
import os
from pathlib import Path

import diskcache

from entrepot.disk import SafeDisk

FORMAT = "1"
_BUSY_SECONDS = 2
"""How long a writer waits for another before the store counts as unusable."""


def open_cache(folder: Path, policy: str) -> diskcache.Cache:
    """Open or create a diskcache that neither pickles nor evicts by itself."""
    folder.mkdir(mode=0o700, exist_ok=True)
    return diskcache.Cache(
        folder,
        timeout=_BUSY_SECONDS,
        disk=SafeDisk,
        eviction_policy=policy,
        size_limit=2**62,  # Room keeps the limit: diskcache would evict ten rows at a time
        cull_limit=0,
        sqlite_cache_size=512,  # pages a connection; the default may take 32 MiB each
    )


def lock(folder: Path) -> int:
    """Create the folder and keep other processes out of it while the file stays open."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise OSError("another entrepot is using it") from None
    return file


def check_format(folder: Path) -> None:
    """Refuse a folder that another version wrote, before anything in it is touched."""
    path = folder / "format"
    if not path.exists():
        path.write_text(f"{FORMAT}\n")
    elif (found := path.read_text().strip()) != FORMAT:
        raise OSError(f"its format is {found!r}, this version reads {FORMAT!r}")


def reconcile(folder: Path, cache: diskcache.Cache) -> None:
    """Make rows and files agree after a kill: a row has its whole file, a file its row."""
    sql = cache._sql  # noqa: SLF001 diskcache has no call for rows with their files
    rows = sql("SELECT key, size, filename FROM Cache WHERE filename IS NOT NULL").fetchall()
    known = set()
    for key, size, filename in rows:
        path = folder / filename
        if path.is_file() and path.stat().st_size == size:
            known.add(path)
        else:
            cache.delete(key)
    for path in folder.glob("??/??/*.val"):
        if path not in known:
            path.unlink()


def forget_old(partials: Path, before: float) -> None:
    """Remove unfinished downloads that nobody continued since a time."""
    for path in partials.iterdir():
        if path.stat().st_mtime < before:
            path.unlink()
