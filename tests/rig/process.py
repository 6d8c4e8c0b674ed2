"""Servers as child processes: a clean environment, a log file, readiness, a sure end.

A child dies with the test run: `setpriv --pdeathsig` covers a killed run (the signal is sent when
the *thread* that started the child ends, so start servers from the main thread), `atexit` the rest.
"""

import atexit
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"
PATIENCE = 60.0
"""Seconds that are waited at least for what must come: a machine may be busy with other things."""
_POLL_SECONDS = 0.01
_live: set["Daemon"] = set()


class RigError(Exception):
    """The rig itself failed: a server did not start, a client's set-up did not work."""


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment with nothing of this one in it (no proxy, no certificate settings)."""
    return {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8", **extra}


def program(name: str) -> str:
    """Return the path of a system program, Debian's before /usr/local's."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise RigError(f"no program {name!r} in {PATH}")
    return found


def eventually(condition: Callable[[], object], *, within: float = PATIENCE, what: str) -> None:
    """Return as soon as `condition()` is true; raise after our patience, or longer: `within`."""
    seconds = max(within, PATIENCE)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(f"not so after {seconds:g} s: {what}")
        time.sleep(_POLL_SECONDS)


def accepts(port: int) -> bool:
    """Whether something listens on the loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(port: int, path: str, status: int = 200, host: str = "127.0.0.1") -> bool:
    """Whether a plain HTTP GET of the loopback port gives `status`."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Process(Protocol):
    """What is needed of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


class Launch(Protocol):
    """Starts a program in a session of its own; all that it says goes to the end of `log`."""

    def __call__(
        self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None
    ) -> Process: ...


def start_program(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None
) -> Process:
    """Start a program that ends when the test run does."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [program("setpriv"), "--pdeathsig", "KILL", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )


class Daemon:
    """One server process; `start` returns when it is ready, `stop` when it is gone."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        ready: Callable[[], object],
        within: float = 20,
        cwd: Path | None = None,
        reported: bool = True,
        launch: Launch = start_program,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log_path = log
        self._env = dict(env)
        self._ready = ready
        self._within = within
        self._cwd = cwd
        self.reported = reported
        self._launch = launch
        self._process: Process | None = None
        self._log_began = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has written so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def log_of_this_start(self) -> str:
        """What it has written since it was last started."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(self._log_began)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Start without waiting for readiness."""
        if self.running():
            raise RigError(f"{self.name} already runs")
        self._log_began = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = self._launch(self.argv, log=self.log_path, env=self._env, cwd=self._cwd)
        _live.add(self)

    def start(self) -> None:
        self.spawn()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when ready; raise with the log's tail when it ends first or takes too long."""
        try:
            eventually(
                lambda: not self.running() or self._ready(), within=self._within, what="ready"
            )
        except RigError:
            self.kill9()
            raise self._failure(f"not ready in {self._within} s") from None
        if not self.running():
            raise self._failure(f"ended with status {self.process.returncode} at start")

    def stop(self, within: float = 15) -> int:
        """SIGTERM, wait, then SIGKILL for what is left of the group; return the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self.kill9()

    def kill9(self) -> int:
        """SIGKILL to the whole process group, and reap; return the exit status."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait(PATIENCE)
        _live.discard(self)
        return status

    def wait(self, within: float) -> int:
        """Wait for it to end by itself; return the exit status."""
        return self.process.wait(within)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RigError(f"{self.name} was never started")
        return self._process

    def _failure(self, why: str) -> RigError:
        return RigError(f"{self.name}: {why}: {' '.join(self.argv)}\n{self.log_tail()}")


def live_logs() -> dict[str, str]:
    """Return the ends of the logs of the servers running now, for the report of a failed test."""
    return {
        daemon.name: daemon.log_tail()
        for daemon in sorted(_live, key=lambda daemon: daemon.name)
        if daemon.reported and daemon.log
    }


def start_all(*daemons: Daemon) -> None:
    """Start several at once; the slowest decides how long it takes."""
    for daemon in daemons:
        daemon.spawn()
    for daemon in daemons:
        daemon.wait_ready()


@atexit.register
def _kill_all() -> None:
    for daemon in list(_live):
        daemon.kill9()
