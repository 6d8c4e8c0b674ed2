"""Kill a process in the instant in which the n-th file leaves a folder.

A program of its own, since the window between a file's rename and its row is a fraction of a
millisecond, which a thread beside a dozen busy ones would miss: sniper.py FOLDER PID COUNT.
"""

import os
import signal
import sys
from pathlib import Path


def main(folder: Path, pid: int, count: int) -> None:
    """Watch without a pause."""
    before: set[str] = set()
    while count > 0:
        now = set(os.listdir(folder))  # noqa: PTH208 - the fastest way counts here
        count -= len(before - now)
        before = now
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
