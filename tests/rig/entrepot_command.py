"""The command `entrepot` as an administrator runs it: to its end, as JSON, and on a terminal."""

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig.json_schema import problems
from rig.process import PATIENCE, RigError, clean_environment, program
from rig.proxy import PYTHON

SCHEMAS = Path(__file__).parents[2] / "docs"
Finished = subprocess.CompletedProcess[str]
_ENTREPOT = (PYTHON, "-m", "entrepot.cli")
_OF_ITS_OWN = (program("setsid"), "--ctty", program("env"), "--default-signal=INT")
_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def entrepot(folder: Path, *words: str | Path, **env: str) -> Finished:
    """Run a command to its end, in a folder."""
    return subprocess.run(
        [*_ENTREPOT, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=clean_environment(folder, **env),
    )


def document(folder: Path, schema: str, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """What a command says with `--json`: nothing else, and as its schema has it."""
    finished = entrepot(folder, *words, "--json")
    assert (finished.returncode, finished.stderr) == (code, ""), finished
    told: dict[str, Any] = json.loads(finished.stdout)
    wanted = json.loads((SCHEMAS / f"{schema}.schema.json").read_text())
    assert list(problems(told, wanted)) == []
    return told


def all_written(terminal: int) -> str:
    """Close our side of a terminal whose other side nobody has open any more; what came there.

    The kernel hands it on piece by piece, and says by an error that there is no more.
    """
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 1 << 16):
            pieces.append(piece)
    os.close(terminal)
    return b"".join(pieces).decode()


class Terminal:
    """A command in a pseudo-terminal of its own, of so many columns."""

    def __init__(
        self,
        folder: Path,
        words: Sequence[str | Path],
        *,
        columns: int = 100,
        argv: Sequence[str] = _ENTREPOT,
        env: Mapping[str, str] = {},
    ) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, columns))
        self.written = ""
        try:
            self._process = subprocess.Popen(
                # So that ^C reaches it, and counts where the tests themselves are deaf to it.
                [*_OF_ITS_OWN, *argv, *map(str, words)],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=folder,
                env=clean_environment(folder, **{"TERM": "xterm", **env}),
            )
        finally:
            os.close(theirs)

    @property
    def text(self) -> str:
        """What it wrote, without colours and moves."""
        return _STYLES.sub("", self.written).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def read_until(self, words: str, within: float = PATIENCE, *, after: int = 0) -> None:
        """Read until it wrote these words after so much text; raise `RigError` where not."""
        deadline = time.monotonic() + within
        while words not in self.text[after:]:
            if not self._read(deadline - time.monotonic()):
                raise RigError(f"{words!r} was not written, but {self.text[after:]!r}")

    def end(self, within: float = PATIENCE) -> int:
        """Read until it ends; its status."""
        deadline = time.monotonic() + within
        while self._read(deadline - time.monotonic()):
            pass
        os.close(self._ours)
        try:
            return self._process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RigError(f"it did not end, but wrote {self.text!r}") from None

    def _read(self, patience: float) -> bool:
        """Read some; False where there is nothing more, or not in time."""
        if not select.select([self._ours], [], [], max(0, patience))[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # EIO: it has ended
            return False
        self.written += data.decode(errors="replace")
        return bool(data)
