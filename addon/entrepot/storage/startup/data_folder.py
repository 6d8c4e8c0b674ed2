"""The data folder: one process at a time, one format.

Layout: ``lock``, ``format``, ``ca/`` (the authority), ``blobs/`` and ``index/`` (diskcache),
``partial/`` (``partials``), ``quarantine/`` (what was damaged: ``resting_objects``),
``upstream-ca.pem`` (roots for mitmproxy), "control.sock" while
a proxy runs (``control.control_socket``), and ``clean`` after an orderly end (``clean_shutdown``).
Folders are 0700 and files 0600.
"""

import fcntl
import os
from pathlib import Path

FORMAT = "1"
"""Goes up when what is stored would be read wrongly, or harmed, by a version before."""


def lock(folder: Path) -> int:
    """Create the folder and keep other processes out of it while the file stays open."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise OSError("another entrepot is using it") from None
    except OSError:
        os.close(file)
        raise
    return file


def check_format(folder: Path) -> None:
    """Refuse a folder that another version wrote, before anything in it is touched."""
    path = folder / "format"
    found = path.read_text(errors="replace").strip() if path.exists() else ""
    if not found:  # also where an earlier version left it empty on a full disk
        new = path.with_suffix(".new")
        new.write_text(f"{FORMAT}\n")
        new.rename(path)
    elif found != FORMAT:
        raise OSError(_refusal(found[:20]))


def _refusal(found: str) -> str:
    """What is wrong with a folder of another format, and what to do."""
    if found.isdecimal() and int(found) > int(FORMAT):
        return (
            f"a newer version of entrepot wrote it: its format is {found}, this version reads "
            f"{FORMAT}; install that version again, or name another folder by --data"
        )
    return (
        f"its format is {found!r}, this version reads {FORMAT!r}; run the version that wrote it, "
        "or name another folder by --data"
    )
