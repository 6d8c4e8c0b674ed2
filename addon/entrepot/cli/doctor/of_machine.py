"""The machine: the data folder and its disk, the ports, the time of day."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from entrepot.app.ports_in_use import try_to_listen
from entrepot.app.start_error import StartError
from entrepot.cli.doctor.finding import Finding, note, ok, problem, warning
from entrepot.cli.frame.text_table import duration, size
from entrepot.config.settings import Config
from entrepot.control.documents import Document

_FEW_FILES = 10_000
_LEAST_FREE = 2**30
_SKEW_SECONDS = 30.0
_BAD_SKEW_SECONDS = 300.0


def check_folder(config: Config) -> Iterator[Finding]:
    """Whether the data folder is there, and closed to others."""
    folder = config.data
    try:
        found = folder.stat()
    except FileNotFoundError:
        yield note("data folder", f"{folder} is not there yet: the first start makes it")
        return
    except OSError as error:
        yield problem("data folder", f"{folder}: {error.strerror}", "run this as root")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield problem("data folder", f"this user may not use {folder}", "run this as its owner")
    elif stat.S_IMODE(found.st_mode) & 0o077:
        fix = f"chmod 700 {folder}"
        yield warning("data folder", f"others can look into {folder}", fix)
    else:
        yield ok("data folder", str(folder))


def check_disk(config: Config, live: Document | None) -> Iterator[Finding]:
    """Whether there is room, for bytes and for files; for the whole limit where one runs."""
    there = next(path for path in (config.data, *config.data.absolute().parents) if path.exists())
    state = os.statvfs(there)
    free = state.f_bavail * state.f_frsize
    usage = live["usage"] if live is not None else None
    reserve = usage["reserve"] if usage is not None else _LEAST_FREE
    more = "make room on that disk, or --data on another"
    if state.f_flag & os.ST_RDONLY:
        yield problem("disk", f"{there} is mounted read-only", "mount it so that it can be written")
    elif free <= reserve:
        yield problem("disk", f"{size(free)} free: nothing new is stored", more)
    elif usage is not None and usage["limit"] > usage["held"] + free - reserve:
        room = size(usage["held"] + free - reserve)
        said = f"room for {room}, less than the limit of {size(usage['limit'])}"
        yield warning("disk", said, f"lower --size, or {more}")
    else:
        yield ok("disk", f"{size(free)} free at {there}")
    if state.f_files > 0 and state.f_favail < _FEW_FILES:
        yield warning("disk", f"it takes {state.f_favail} more files", more)


def check_ports(config: Config, live: Document | None) -> Iterator[Finding]:
    """Whether it could listen, where it does not run."""
    if live is not None:
        places = ", ".join(one["address"] for one in live["listening"])
        yield ok("ports", f"it listens on {places}")
        return
    try:
        try_to_listen(config)
    except StartError as error:
        yield problem("ports", str(error), "end what listens there, or choose another port")
    else:
        yield ok("ports", f"{config.listen} is free")


def check_clock(date: str | None) -> Iterator[Finding]:
    """Whether the time of day is what a registry just said that it is."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        yield note("clock", "no registry said what time it is")
        return
    away = abs((datetime.now(UTC) - theirs.astimezone(UTC)).total_seconds())
    if away < _SKEW_SECONDS:
        yield ok("clock", "as the registries have it")
        return
    said = f"{duration(away)} from what a registry says: certificates and tokens may seem expired"
    check = problem if away >= _BAD_SKEW_SECONDS else warning
    yield check("clock", said, "set it by NTP: timedatectl set-ntp true")
