"""A process that has imported all of a proxy, and forks one whenever it is asked (see `rig.forks`).

Run by the interpreter that the proxies need, which may lack the rig's modules. It is asked in JSON,
a message each: what to start, answered by a process id; or whose exit status, None while it runs.
"""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from entrepot.cli import main, serve  # noqa: F401 all that a start imports
from entrepot.mitm.lean_imports import leave_out_unused_imports

leave_out_unused_imports()
from entrepot.mitm import master  # noqa: E402, F401

PR_SET_PDEATHSIG = 1
LARGEST = 1 << 20


def _be_forked(address: str) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{address}~")
    listener.listen()
    Path(f"{address}~").rename(address)  # it is there: it listens
    while True:
        connection, _ = listener.accept()
        order = json.loads(connection.recv(LARGEST))
        if "ended" in order:
            answer = _status(order["ended"])
        else:
            answer = _fork_one(order, listener, connection)
        connection.send(json.dumps(answer).encode())
        connection.close()


def _fork_one(order: dict[str, Any], *ours: socket.socket) -> int:
    """Fork a proxy; its process id, once it is in a session of its own."""
    (_,) = Path("/proc/self/task").iterdir()  # no other thread would be in a fork
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        for connection in ours:
            connection.close()
        _become(told=writing, **order)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return pid


def _status(pid: int) -> int | None:
    """The exit status of a child, as Popen has it, or None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(words: list[str], log: str, env: dict[str, str], folder: str, told: int) -> NoReturn:
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.close(told)
    _open(0, os.devnull, os.O_RDONLY)
    _open(1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(1, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.exit(main.main(words))


def _open(number: int, path: str, flags: int) -> None:
    opened = os.open(path, flags, 0o666)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # a collection in a fork would else copy every page of what is here
    _be_forked(sys.argv[1])
