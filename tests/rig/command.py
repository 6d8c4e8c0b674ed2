"""A client's command line, run in an environment and folders of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rig.process import PATIENCE, RigError, eventually, program

Finished = subprocess.CompletedProcess[str]


class Program:
    """A command line run to its end, or started and left to the caller."""

    def __init__(self, folder: Path, argv: Sequence[str | Path], env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._argv = [str(word) for word in argv]
        self._env = dict(env)

    @property
    def environment(self) -> dict[str, str]:
        return dict(self._env)

    def run(
        self, *words: str | Path, timeout: float = 120, stdin: str = "", env: Mapping[str, str] = {}
    ) -> Finished:
        """Run with these words after the client's own."""
        return subprocess.run(
            [*self._argv, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**self._env, **env},
            cwd=self.folder,
            timeout=timeout,
            check=False,
        )

    def feed(self, source: IO[bytes] | None, *words: str) -> None:
        """Run with what `source` has as its standard input; raise unless it ends well."""
        argv = [*self._argv, *words]
        finished = subprocess.run(
            argv, stdin=source, capture_output=True, env=self._env, cwd=self.folder, check=False
        )
        if finished.returncode:
            raise RigError(f"{' '.join(argv)}: {finished.stderr.decode(errors='replace')}")

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        """Start without waiting, for a pull that the test will kill; output is thrown away."""
        return subprocess.Popen(
            [*self._argv, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._env,
            cwd=self.folder,
            start_new_session=True,
        )


def check(finished: Finished) -> str:
    """Return what it wrote to stdout; raise with all it wrote if its status is not 0."""
    if finished.returncode:
        words = " ".join(finished.args)
        raise RigError(
            f"{words}: status {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
        )
    return finished.stdout


def kill(process: "subprocess.Popen[str]") -> None:
    """End a started command as an impatient user does, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


def with_empty(*folders: str) -> list[str]:
    """Return the words before a command that give it empty folders in place of these.

    They hide what a program reads and writes there whatever its options say. The mount namespace
    is its own, so that whatever else it mounts is gone with it.
    """
    mounts = " && ".join(f"mount -t tmpfs rig {folder}" for folder in folders)
    script = f'{mounts} && exec "$@"'
    return [program("unshare"), "--mount", "--propagation=private", "sh", "-c", script, "sh"]


def with_file(path: str, content: Path) -> list[str]:
    """Return the words before a command for which the file at `path` is another one."""
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    unshare = [program("unshare"), "--mount", "--propagation=private"]
    return [*unshare, "sh", "-c", script, "sh", str(content), path]


def discard(folder: Path) -> None:
    """Unmount whatever is mounted below a folder, then remove it."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        mounted = line.split()[1].encode().decode("unicode_escape")
        if Path(mounted).is_relative_to(folder):
            subprocess.run([program("umount"), "--lazy", mounted], check=False)

    def gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    eventually(gone, what=f"{folder} removed")  # a dying child may still write there
