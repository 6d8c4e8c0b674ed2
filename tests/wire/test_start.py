"""What a start imports: most of it would be add-ons of mitmproxy's that a cache has no use for."""

import contextlib
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.process import clean_environment, eventually
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

ADDONS = {
    "block",
    "disable_h2c",
    "errorcheck",
    "next_layer",
    "proxyserver",
    "termlog",
    "tlsconfig",
    "update_alt_svc",
}
HEAVY = {"flask", "ldap3", "mitmproxy.contentviews", "mitmproxy.flowfilter", "tornado", "urwid"}
LATE = {"attr", "ruamel.yaml.main", "service_identity.exceptions"}
TELL = {"PYTHONPROFILEIMPORTTIME": "1"}

UNDECLARED = """
import ast, asyncio, re, sys
from pathlib import Path
from entrepot.mitm.lean_imports import leave_out_unused_imports

leave_out_unused_imports()
from entrepot.config.settings import Config
from entrepot.mitm import master

OPTIONS = re.compile(r"\\b(ctx|context)[.]options$")

def read(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and OPTIONS.search(ast.unparse(node.value)):
            yield node.attr

async def main():
    made = master.Master(master.options.Options(), with_termlog=True)
    config = Config(data=Path("data"), proxyauth="any")
    master.equip(made, config, master.Entrepot(master.Foundation.lay(config)))
    loaded = [module for name, module in sys.modules.items() if name.startswith("mitmproxy.")]
    files = {file for module in loaded if (file := module.__file__ or "").endswith(".py")}
    names = {name for file in files for name in read(Path(file).read_text(encoding="utf-8"))}
    assert {"http2", "ssl_insecure", "validate_inbound_headers"} <= names
    print(*sorted(names - set(made.options.keys()) - set(dir(made.options))))

asyncio.run(main())
"""

USED = """
from entrepot.mitm.lean_imports import leave_out_unused_imports

leave_out_unused_imports()
import aioquic.tls, ruamel.yaml, sys
from mitmproxy import optmanager

assert not {"attr", "ruamel.yaml.main"} & set(sys.modules)
assert optmanager.parse("one: 1") == {"one": 1}
assert issubclass(aioquic.tls.service_identity.VerificationError, Exception)
"""


def imported(log: str) -> set[str]:
    """The modules that a process imported, as Python itself tells it."""
    return set(re.findall(r"^import time: .*\| +(\S+)$", log, re.MULTILINE))


def of(package: str, modules: set[str]) -> set[str]:
    return {name.removeprefix(f"{package}.") for name in modules if name.startswith(f"{package}.")}


def traits(proxy: Entrepot) -> dict[str, object]:
    """What a process has by the way it was started."""
    process = Path(f"/proc/{proxy.pid}")
    status = (process / "status").read_text()
    names = "PPid|NSsid|Umask|Threads|Groups|Sig...|Cap..."
    said = dict(re.findall(rf"^({names}):[ \t]*(.*)$", status, re.MULTILINE))
    opened = set()
    for fd in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the rig's question, just answered
            opened.add(str(fd.readlink()))
    return {
        **said,
        "PPid": "",
        "NSsid": said["NSsid"] == str(proxy.pid),
        "open": {re.sub(r"\d+", "", name.replace(str(proxy.folder), "")) for name in opened},
        "limits": (process / "limits").read_text(),
        "folder": (process / "cwd").readlink() == proxy.folder,
    }


def test_a_start_imports_the_add_ons_that_a_cache_needs(start_entrepot: "StartEntrepot") -> None:
    """Not those of a debugging proxy, nor what comes with them."""
    proxy = start_entrepot(env=TELL)
    eventually(lambda: " listening " in proxy.log, what="ready")
    modules = imported(proxy.log)
    assert of("mitmproxy.addons", modules) == ADDONS
    assert not modules & (HEAVY | LATE)


def test_a_password_for_the_proxy_brings_the_add_on_for_it(start_entrepot: "StartEntrepot") -> None:
    proxy = start_entrepot(env=TELL, proxyauth="joe:secret")
    assert of("mitmproxy.addons", imported(proxy.log)) == ADDONS | {"proxyauth"}


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("serve", "--help"), ("ca", "show"), ("ca", "create")],
    ids=" ".join,
)
def test_the_other_commands_import_nothing_of_a_proxy(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Neither mitmproxy nor an event loop, and help no cryptography either."""
    finished = subprocess.run(
        [PYTHON, "-m", "entrepot.cli", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=tmp_path,
        env=clean_environment(tmp_path, **TELL),
    )
    modules = imported(finished.stderr)
    unwanted = {"mitmproxy", "asyncio", "urllib3", "diskcache", "ruamel.yaml", "rich"}
    assert "entrepot.cli.main" in modules
    assert not modules & (unwanted | ({"cryptography"} if words[-1][:2] == "--" else set()))


def run(folder: Path, code: str) -> tuple[str, str, int]:
    """Run code in a process of its own: here pytest has imported all of mitmproxy's add-ons."""
    finished = subprocess.run(
        [PYTHON, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=clean_environment(folder),
    )
    return finished.stdout.strip(), finished.stderr, finished.returncode


def test_what_mitmproxy_reads_of_its_options_is_there(tmp_path: Path) -> None:
    """An add-on left out declares no options: none of them is read by what is loaded."""
    assert run(tmp_path, UNDECLARED) == ("", "", 0)


def test_what_is_put_off_is_there_when_it_is_used(tmp_path: Path) -> None:
    """A module whose import does nothing is whole with the first name that is asked of it."""
    assert run(tmp_path, USED) == ("", "", 0)


def test_a_forked_proxy_is_as_one_of_the_command(start_entrepot: "StartEntrepot") -> None:
    """The rig's word: most tests are with forks (see `rig.forks`)."""
    forked, command = start_entrepot(), start_entrepot(env={"NOTHING": "of ours"})
    assert type(forked.daemon.process) is not type(command.daemon.process)
    for proxy in (forked, command):
        eventually(lambda one=proxy: " listening " in one.log, what="ready")  # type: ignore[misc]
    assert traits(forked) == traits(command)
    assert forked.terminate() == command.terminate() == 0
    for proxy in (forked, command):
        proxy.start()
        proxy.daemon.signal(signal.SIGKILL)
        assert proxy.daemon.wait(10) == -signal.SIGKILL
