"""A systemd booted in a tree of files, with processes, mounts, network and groups of its own.

It is what a container engine does for an image with an init, by unshare(1) alone: so it works
wherever root may mount, with either version of control groups on the machine.
"""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from rig.command import Finished
from rig.networks import Network
from rig.process import RigError, clean_environment, eventually, program

_BOOT = """
set -e
tree=$1
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount --bind -o ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mkdir -p .old
pivot_root . .old
umount --lazy /.old
hostname booted
exec env -i container=rig PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --system
"""
_UP = ("running", "degraded")
_ENTER = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")


def cgroups() -> Path:
    """Where version 2 of control groups is mounted; skips the test where it is nowhere."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    pytest.skip("systemd cannot be booted here: no control groups of version 2 that can be written")


class Booted:
    """One system; it is up once it is made. `network` is where it runs."""

    def __init__(self, tree: Path, network: Network) -> None:
        self._group = cgroups() / f"rig-{os.getpid()}-{tree.parent.name}"
        self._group.mkdir()
        self._pid = 0
        unshare = [program("unshare"), "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
        join = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
        self._process = subprocess.Popen(
            [
                *(program("setpriv"), "--pdeathsig", "KILL", *network.prefix),
                *("sh", "-c", join, "sh", str(self._group)),
                *(*unshare, "--fork", "--kill-child", "--propagation=private"),
                *("sh", "-c", _BOOT, "sh", str(tree)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(Path("/")),
            start_new_session=True,
        )
        try:
            eventually(self._is_up, what="systemd is up")
        except RigError:
            said = self.stop()
            raise RigError(f"systemd did not boot:\n{said}") from None

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise RigError("it ended")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._pid = int(children.read_text().split()[0]) if children.read_text() else 0
        return bool(self._pid) and self.run("systemctl", "is-system-running").stdout.strip() in _UP

    def run(self, *words: str, timeout: float = 60) -> Finished:
        """Run a command in it."""
        return subprocess.run(
            [program("nsenter"), f"--target={self._pid}", *_ENTER, "--root", "--wd=/", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LANG": "C.UTF-8",
                "DEBIAN_FRONTEND": "noninteractive",
            },
        )

    def journal(self, unit: str) -> str:
        """What a unit has said, without dates."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def stop(self) -> str:
        """End it, with all that runs in it; what its first process printed."""
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
            os.killpg(self._process.pid, signal.SIGKILL)
        said, _ = self._process.communicate(timeout=20)
        eventually(self._groups_gone, what="its control groups are gone")
        return str(said)

    def _groups_gone(self) -> bool:
        below = sorted(self._group.rglob("*"), key=lambda path: -len(path.parts))
        for folder in (*below, self._group):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()
        return not self._group.exists()
