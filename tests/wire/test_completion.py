"""`entrepot completion`: what TAB does in bash, zsh and fish, with images of the running proxy."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.entrepot_command import Terminal, entrepot
from rig.faults import FaultServer
from rig.images import ImageFactory
from rig.needs import need
from rig.process import PATH, clean_environment
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory) -> Entrepot:
    """One that holds an image of two tags, and the command on the path of its folder."""
    proxy = start_entrepot()
    image = images.image("completion")
    for tag in ("1.4.2", "1.4.3"):
        faults.publish(image, "acme/app", tag)
        proxy.client().manifest(f"https://{HOST}/v2/acme/app/manifests/{tag}")
    program = proxy.folder / "bin/entrepot"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {PYTHON} -m entrepot.cli "$@"\n')
    program.chmod(0o755)
    return proxy


def around(proxy: Entrepot) -> Mapping[str, str]:
    return {
        "PATH": f"{proxy.folder / 'bin'}:{PATH}",
        "ENTREPOT_DATA": str(proxy.data),
        "PS1": "$ ",
        "TERM": "dumb",
    }


def script(proxy: Entrepot, shell: str, name: str) -> Path:
    """Write a shell's script to a file of that name."""
    file = proxy.folder / name
    finished = entrepot(proxy.folder, "completion", shell)
    assert (finished.returncode, finished.stderr) == (0, "")
    file.write_text(finished.stdout)
    return file


def completes(terminal: Terminal, typed: str, *said: str) -> None:
    """Type words and TAB, see what comes; then begin a new line."""
    before = len(terminal.text)
    terminal.type(f"{typed}\t")
    for words in said:
        terminal.read_until(words, after=before)
    terminal.type("\x15echo over\n")
    terminal.read_until("\nover", after=before)


@pytest.mark.parametrize("library", [True, False], ids=["bash-completion", "bare"])
def test_bash(proxy: Entrepot, library: bool) -> None:  # noqa: FBT001 a parameter
    """With and without the library of completions; a colon in a name is no end of a word."""
    need("bash")
    file = script(proxy, "bash", "entrepot.bash")
    if library and not BASH_COMPLETION.exists():
        pytest.skip("no bash-completion: apt-get install bash-completion")
    load = f". {BASH_COMPLETION}; . {file}" if library else f". {file}"
    argv = ["bash", "--norc", "--noprofile", "-i"]
    terminal = Terminal(proxy.folder, [], argv=argv, env=around(proxy))
    terminal.type(f"bind 'set show-all-if-ambiguous on'; {load}; echo loaded\n")
    terminal.read_until("\nloaded")
    completes(terminal, "entrepot statu", "entrepot status ")
    completes(terminal, "entrepot ca ", "create", "show")
    completes(terminal, "entrepot ls --sor", "--sort ")
    if library:
        completes(terminal, f"entrepot rm {HOST}/acme/app:1", "1.4.2  1.4.3")
        completes(terminal, f"entrepot rm {HOST}/acme/app:1.4.2", "1.4.2 ")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_zsh(proxy: Entrepot) -> None:
    """From its folder of functions, the first time already; with what each command is for."""
    need("zsh")
    functions = proxy.folder / "functions"
    functions.mkdir()
    script(proxy, "zsh", "functions/_entrepot")
    terminal = Terminal(proxy.folder, [], argv=["zsh", "-f", "-i"], env=around(proxy))
    where = f"fpath=({functions} $fpath)"
    terminal.type(f"{where}; autoload -U compinit; compinit -u -d {functions}/dump; echo loaded\n")
    terminal.read_until("\nloaded")
    completes(terminal, "entrepot ca ", "-- make a new authority")
    completes(terminal, "entrepot ls --sor", "entrepot ls --sort")
    completes(terminal, f"entrepot rm {HOST}/acme/app:1\t", ":1.4.2", ":1.4.3")
    terminal.type("exit\n")
    terminal.end()


def test_fish(proxy: Entrepot) -> None:
    """What it would offer, as it says itself; files where a file is asked for."""
    need("fish")
    file = script(proxy, "fish", "entrepot.fish")
    (proxy.folder / "entrepot.toml").touch()

    def offered(line: str) -> list[str]:
        finished = subprocess.run(
            [shutil.which("fish") or "fish", "-c", f"source {file}; complete -C '{line}'"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            cwd=proxy.folder,
            env={**clean_environment(proxy.folder), **around(proxy)},
        )
        return finished.stdout.splitlines()

    assert offered("entrepot statu") == ["status\twhether it runs, how it does, what it does now"]
    assert offered(f"entrepot rm {HOST}/acme/app:1.4.2") == [f"{HOST}/acme/app:1.4.2"]
    assert offered("entrepot ls --config entrepot.t") == ["entrepot.toml"]


def test_where_no_proxy_runs_no_image_is_offered(tmp_path: Path) -> None:
    """And no error either: a shell would print it into the line."""
    asked = {
        "COMP_WORDS": "entrepot rm re",
        "COMP_CWORD": "2",
        "_ENTREPOT_COMPLETE": "complete_bash",
    }
    finished = entrepot(tmp_path, ENTREPOT_DATA=str(tmp_path / "missing"), **asked)
    assert (finished.returncode, finished.stdout.strip(), finished.stderr) == (0, "", "")
