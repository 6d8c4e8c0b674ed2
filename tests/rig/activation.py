"""What systemd does for a .socket unit: sockets that stay open, handed to each process in turn.

The protocol is that of sd_listen_fds(3): descriptors from 3 on, and in the environment how many,
what they are called, and for which process they are.
"""

import contextlib
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rig.process import program
from rig.proxy import PYTHON

_BECOME = """
import fcntl, os, sys
above = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(above):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(above)))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class SocketUnit:
    """Some sockets, and a way of starting a program with them (a `rig.process.Launch`)."""

    def __init__(self, *sockets: socket.socket, name: str = "entrepot.socket") -> None:
        self.sockets = sockets
        self._name = name

    def launch(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None
    ) -> "subprocess.Popen[bytes]":
        """Start a program that gets the sockets; it ends when the test run does."""
        numbers = [one.fileno() for one in self.sockets]
        said = ",".join(map(str, numbers))
        names = ":".join(self._name for _ in numbers)
        with log.open("ab") as output:
            return subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "KILL", PYTHON, "-c", _BECOME, said, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**env, "LISTEN_FDNAMES": names},
                cwd=cwd,
                start_new_session=True,
                pass_fds=numbers,
            )

    def close(self) -> None:
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.close()


def listening(address: str, port: int) -> socket.socket:
    """Listen as systemd does for ListenStream= with BindIPv6Only=ipv6-only."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    made.listen(4096)
    return made


def open_descriptors(pid: int) -> Iterable[str]:
    """What the descriptors of a process are."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(fd.readlink())
