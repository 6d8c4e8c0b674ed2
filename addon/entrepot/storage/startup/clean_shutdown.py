"""The mark of a clean shutdown, after which no database needs to be checked and no file looked for.

At its very end a store writes the file ``clean``, which says in which state it left the databases:
inode, size, and the times of the last change. The next start removes it before it touches anything.
So it is there only where nobody was killed or lost power meanwhile, and counts only where nobody
else has written to the databases since: another version, an administrator, a restored backup.
"""

import json
import os
from pathlib import Path

_MARK = "clean"
_NEW = "clean.new"


def was_clean(folder: Path, databases: tuple[Path, ...]) -> bool:
    """Whether the last shutdown was clean, or there was none yet; to be asked once, at a start."""
    mark = folder / _MARK
    try:
        said = mark.read_text()
    except (FileNotFoundError, ValueError):
        said = ""
    for name in (_MARK, _NEW):
        (folder / name).unlink(missing_ok=True)
    if not any(path.parent.exists() for path in databases):
        return True
    return bool(said) and said == _states(databases)


def mark_clean(folder: Path, databases: tuple[Path, ...]) -> None:
    """Write the mark, once nothing has the databases open any more. Raises OSError."""
    if any(path.with_name(f"{path.name}-wal").exists() for path in databases):
        return  # somebody has: what is in there is not in them yet
    for path in databases:
        _set_apart(path)
    new = folder / _NEW
    with new.open("w") as file:
        file.write(_states(databases))
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / _MARK)


def _set_apart(path: Path) -> None:
    """Date a file back by a second.

    The clocks of file systems tick some times a second only: a later write in the same tick would
    else leave the time as it is.
    """
    changed = path.stat().st_mtime_ns
    os.utime(path, ns=(changed, changed - 1_000_000_000))


def _states(databases: tuple[Path, ...]) -> str:
    """The databases' states; empty, which is none's, where one is not there or has a log."""
    states = []
    for path in databases:
        if path.with_name(f"{path.name}-wal").exists():
            return ""
        try:
            state = path.stat()
        except FileNotFoundError:
            return ""
        states.append([state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    return json.dumps(states)
