"""What a start says: the upstream proxy in use, a limit that cannot be had, one format for all."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.disk import small_disk
from rig.images import MIB
from rig.needs import need_root
from rig.ports import free_port
from rig.process import Daemon, answers, clean_environment, eventually
from rig.proxy import ADDON, PYTHON, Entrepot, Runner, default_port

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.unforked

MITMDUMP = "from mitmproxy.tools.main import mitmdump; mitmdump()"
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) [a-z_]+"
    r'( [a-z0-9_]+=([^ "]+|"(\\.|[^"\\])*"))*'
)
NOISE = """
import logging, pathlib, threading, time, warnings

def make_noise():
    told = "no luck with\\nhttps://me:SECRET@cdn.test/a?sig=SECRET"
    logging.getLogger("mitmproxy.proxy.server").warning(told, extra={"client": ("10.0.0.1", 5)})
    logging.getLogger("other").error("it sent Authorization: Basic SECRET")
    warnings.warn("an old way", stacklevel=1)
    thread = threading.Thread(target=fail, name="reader")
    thread.start()
    thread.join()

def fail():
    url = "https://cdn.test/b?sig=SECRET"
    raise ValueError(url)

def wait_for_leave():
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    make_noise()

threading.Thread(target=wait_for_leave, daemon=True).start()
"""
SERVE = f"{NOISE}\nfrom entrepot.cli.main import main\nraise SystemExit(main())"
"""A proxy in which libraries warn and fail: `entrepot serve`, and a second script of mitmdump's."""
MITMDUMPS = ("Loading script ", " listening at ", " stopped.")
"""What mitmdump says before it has loaded the addon."""
EXPECTED = (
    'WARNING library_warned client=10.0.0.1 reason="no luck with\\nhttps://cdn.test"',
    'ERROR library_failed reason="it sent Authorization: ..."',
    "an old way",
    'ERROR library_failed reason="Exception in reader"',
    "ValueError: https://cdn.test",
)


def lines(proxy: Entrepot, event: str) -> list[str]:
    eventually(lambda: " listening " in proxy.log, what="ready")
    return [line for line in proxy.log.splitlines() if f" {event} " in line]


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_the_upstream_proxy_is_named(start_entrepot: "StartEntrepot", runner: Runner) -> None:
    """Without its login, with what is reached past it."""
    given = ["*", ".corp.test:5000", "10.1.2.3", "fd00::/8"]
    url = "http://me:SECRET@127.0.0.1:9"
    proxy = start_entrepot(runner=runner, upstream_proxy=url, no_proxy=given)
    (line,) = lines(proxy, "upstream_proxy_used")
    assert line.endswith(
        f" INFO upstream_proxy_used proxy=http://127.0.0.1:9 no_proxy={','.join(given)}"
    )
    assert "SECRET" not in proxy.log


def test_a_proxy_of_the_environment_is_named_as_that(start_entrepot: "StartEntrepot") -> None:
    """HTTPS_PROXY was set for others too: who reads the log learns of it; else there is no line."""
    env = {"https_proxy": "me:SECRET@127.0.0.1:9", "NO_PROXY": "a.test, b.test"}
    proxy = start_entrepot(env=env)
    (line,) = lines(proxy, "upstream_proxy_used")
    assert line.endswith(" proxy=http://127.0.0.1:9 variable=HTTPS_PROXY no_proxy=a.test,b.test")
    assert "SECRET" not in proxy.log
    assert lines(start_entrepot(env={"NO_PROXY": "a.test"}), "upstream_proxy_used") == []


def test_a_limit_that_the_disk_cannot_hold_is_warned_of(
    start_entrepot: "StartEntrepot", folder: Path
) -> None:
    """With figures of which none reads as nothing, and what to do; what can be had says nothing."""
    need_root()
    with small_disk(folder / "disk", 40 * MIB) as disk:
        proxy = start_entrepot(data=str(disk / "data"), size="1GiB")
        (line,) = lines(proxy, "disk_overbooked")
        assert " WARNING disk_overbooked " in line
        assert " limit=1.0GiB attainable=3" in line
        assert " reserve=2.0MiB hint=" in line
        smaller = re.search(r"--size ([0-9.]+MiB), or more room", line)
        assert smaller is not None
        assert proxy.terminate() == 0
        fits = start_entrepot(data=str(disk / "data"), size=smaller[1])
        assert lines(fits, "disk_overbooked") == []
        assert f" limit={smaller[1]} " in fits.log
        fits.kill9()


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_every_line_has_one_format(folder: Path, runner: Runner) -> None:
    """Those of mitmproxy too, Python's warnings, a thread's end; no secret in any of them."""
    port, script = free_port(), folder / "noisy.py"
    script.write_text(NOISE)
    given = {"listen": f"127.0.0.1:{port}", "data": str(folder / "data")}
    if runner == "serve":
        argv = ["-c", SERVE, "serve", *(w for n, v in given.items() for w in (f"--{n}", v))]
    else:
        options = (w for n, v in given.items() for w in ("--set", f"entrepot_{n}={v}"))
        argv = ["-c", MITMDUMP, "-s", str(ADDON), "-s", str(script), *options]
    proxy = Daemon(
        "noisy",
        [PYTHON, *argv],
        log=folder / "noisy.log",
        env=clean_environment(folder),
        ready=lambda: answers(port, "/healthz"),
        cwd=folder,
    )
    try:
        with default_port() if runner == "mitmdump" else nullcontext():
            proxy.start()
        (folder / "go").touch()
        eventually(lambda: all(told in proxy.log for told in EXPECTED), what="said")
    finally:
        proxy.stop()
    assert "SECRET" not in proxy.log
    told = proxy.log.splitlines()
    if runner == "mitmdump":
        told = [line for line in told if not any(own in line for own in MITMDUMPS)]
    assert [line for line in told if not LINE.fullmatch(line) and not _is_of_a_trace(line)] == []


def _is_of_a_trace(line: str) -> bool:
    """Whether a line is of the traceback that follows the line of a failure."""
    return line.startswith(("Traceback (", "  ", "ValueError: "))
