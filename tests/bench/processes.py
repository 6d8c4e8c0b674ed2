"""What a server costs: CPU time and memory of a process and all below it; and which core it has."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, _read(children).split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process, its descendants and its dead children have used."""
    total = 0
    for member in family(pid):
        # Fields 14 to 17 of proc(5)'s stat, counted behind the name in parentheses.
        fields = _read(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
        total += sum(map(int, fields[11:15])) if fields else 0
    return total / _TICKS


def peak_memory(pid: int) -> int:
    """Return the most bytes that each of them ever had resident, added up."""
    status = "\n".join(_read(Path(f"/proc/{member}/status")) for member in family(pid))
    return sum(int(kib) * 1024 for kib in re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE))


@contextmanager
def a_core_each(pid: int) -> Iterator[None]:
    """Keep a server on one core and this thread off it; on a machine of one core, nothing."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield
        return
    before = {task: os.sched_getaffinity(task) for task in _tasks(pid)}
    for task in before:
        os.sched_setaffinity(task, cores[:1])
    os.sched_setaffinity(0, cores[1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for task in _tasks(pid):
            os.sched_setaffinity(task, before.get(task, cores))


def _tasks(pid: int) -> list[int]:
    return [
        int(task.name) for member in family(pid) for task in Path(f"/proc/{member}/task").iterdir()
    ]


def _read(path: Path) -> str:
    """Return a file of /proc, or nothing where the process is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
