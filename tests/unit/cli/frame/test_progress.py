"""Progress: a line now and then in a pipe, bars on a terminal, and results beside them."""

import io
import os
import pty
import re
import sys

import pytest

from entrepot.cli.frame.progress import Progress
from rig.process import eventually


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_tells_the_sum_of_all_tasks() -> None:
    """What ended counts on; how much is to come is told where every total is known."""
    clock = Clock()
    with Progress("warming", stream=io.StringIO(), clock=clock) as progress:
        assert progress.line() == "warming: 0 B"
        one, two = progress.task("one", 10 * 2**20), progress.task("two", 30 * 2**20)
        one.advance(10 * 2**20)
        clock.now += 2
        assert progress.line() == "warming: 10.0 MiB of 40.0 MiB, 5.0 MiB/s, 6 s left"
        progress.end(one)
        assert progress.line() == "warming: 10.0 MiB of 40.0 MiB, 5.0 MiB/s, 6 s left"
        progress.task("three")
        two.advance(10 * 2**20)
        assert progress.line() == "warming: 20.0 MiB, 10.0 MiB/s"


def test_a_total_that_is_known_before_the_tasks_are() -> None:
    clock = Clock()
    with Progress("verifying", 100, stream=io.StringIO(), clock=clock) as progress:
        progress.task("one", 10).advance(10)
        clock.now += 1
        assert progress.line() == "verifying: 10 B of 100 B, 10 B/s, 9 s left"


def test_where_it_is_no_terminal_a_line_comes_now_and_then() -> None:
    stream = io.StringIO()
    with Progress("exporting", stream=stream, every=0.01) as progress:
        eventually(lambda: stream.getvalue().count("\n") > 1, what="two lines")
        progress.task("one", 1)
    assert set(stream.getvalue().splitlines()) <= {"exporting: 0 B", "exporting: 0 B of 1 B"}


@pytest.mark.parametrize("columns", [60, 100])
def test_bars_are_as_wide_as_the_terminal_and_go(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider, no name is read as markup, and at the end the lines are cleared."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        with Progress("warming", stream=stream) as progress:
            task = progress.task("ghcr.io/acme/app:[bold]" + "x" * 100, 100)
            task.advance(50)
            written = b""
            while b"50 B of 100 B" not in written:
                written += os.read(ours, 1 << 16)
        end = os.read(ours, 1 << 16)
    os.close(ours)
    assert end.rstrip().endswith(b"\x1b[2K")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    assert "ghcr.io/acm" in plain
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= columns


def test_results_stay_where_they_belong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While bars stand on a terminal, what is printed still goes to standard output."""
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, Progress("warming", stream=stream):
        sys.stdout.write("redis:7 warmed\n")
    os.close(ours)
    assert capsys.readouterr().out == "redis:7 warmed\n"
