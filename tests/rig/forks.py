"""Proxies without a start's imports: forks of a process that has done them.

A start is 0.45 s of CPU, 0.35 of it imports, and the tests have some 900 of them; a fork is 0.07.
Each proxy is a process of its own all the same: the command, with its words, environment, folder
and log, in a session of its own, with nothing open that was open before. What it takes for the
system's trust store has one certificate, nobody's: to read a machine's takes as long as the rest.
How a start goes is what `tests/wire/test_command_line.py` and `test_start.py` look at, by the
command itself.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig.certs import Authority
from rig.process import Daemon, clean_environment
from rig.proxy import PYTHON

_FORKABLE = Path(__file__).with_name("forkable.py")
_POLL_SECONDS = 0.01
_LARGEST = 1 << 20


class Forked:
    """A proxy that was forked, as the part of `subprocess.Popen` that the rig has use for."""

    def __init__(self, address: Path, order: Mapping[str, Any]) -> None:
        self._address = address
        self.pid: int = _ask(address, order)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask(self._address, {"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("entrepot", timeout)
            time.sleep(_POLL_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _ask(address: Path, order: Mapping[str, Any]) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(address))
        connection.send(json.dumps(order).encode())
        return json.loads(connection.recv(_LARGEST))


class Forks:
    """The process that is forked: it starts with the first proxy, and ends with the test run."""

    def __init__(self, folder: Path) -> None:
        self._address = folder / "forkable"
        self._system_store = Authority(folder / "nobody", "Nobody's CA").pem
        self._daemon = Daemon(
            "forkable",
            [PYTHON, "-P", _FORKABLE, self._address],
            log=folder / "forkable.log",
            env=clean_environment(folder, PYTHONUNBUFFERED="1"),
            ready=self._address.exists,
            within=30,
        )

    def launch(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None
    ) -> Forked:
        """Start a proxy as `rig.process.start_program` does; `argv` is as for the real command."""
        if not self._daemon.running():
            self._daemon.start()
        words = list(argv[argv.index("serve") :])
        env = {"SSL_CERT_FILE": str(self._system_store), **env}
        order = {"words": words, "log": str(log), "env": env, "folder": str(cwd)}
        return Forked(self._address, order)
