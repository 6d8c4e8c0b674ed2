"""What is cached, as the commands say it: what was pulled, of a running proxy and of its folder."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.cached import command, pull, told
from rig.client import Client
from rig.entrepot_command import all_written
from rig.images import KIB, MIB, Image, ImageFactory
from rig.process import clean_environment, program
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

OTHER_USER = 65534
SAY = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
try:
    client.sendall(b'{"do": "images"}\\n')
except BrokenPipeError:
    pass
print(client.makefile().readline())
"""


def on_terminal(entrepot: Entrepot, columns: int, *words: str) -> list[str]:
    """What a command prints on a terminal of so many columns."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    try:
        subprocess.run(
            [PYTHON, "-m", "entrepot.cli", *words, "--data", str(entrepot.data)],
            stdout=terminal,
            timeout=60,
            check=True,
            cwd=entrepot.folder,
            env=clean_environment(entrepot.folder),
        )
    finally:
        os.close(terminal)
        shown = all_written(master)
    return shown.splitlines()


def names(entrepot: Entrepot, *words: str) -> set[str]:
    return {name for one in told(entrepot, "ls", *words)["images"] for name in one["names"]}


def size(image: Image) -> int:
    blobs = {blob.digest: blob.size for blob in image.blobs}
    return sum(blobs.values()) + sum(len(one.body) for one in image.manifests)


@pytest.fixture
def pulled(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> dict[str, Image]:
    """What was pulled, by name: of two registries, one an index."""
    made = {
        "hub.example.test/acme/app:1": images.image("inventory-a"),
        "hub.example.test/acme/app:2": images.multi_arch("inventory-b"),
        "ports.example.test:5443/team/tool:latest": images.image("inventory-c", [64 * KIB]),
    }
    for name, image in made.items():
        upstreams.push(image, name)
        pull(client, name, image)
        entrepot.await_stored(blob.digest for blob in image.blobs)
    return made


def test_ls_says_what_was_pulled(entrepot: Entrepot, pulled: dict[str, Image]) -> None:
    """The same of the running proxy and of the folder that it leaves; to people, a table."""
    online = told(entrepot, "ls")
    assert {name: one["digest"] for one in online["images"] for name in one["names"]} == {
        name: image.digest for name, image in pulled.items()
    }
    for found in online["images"]:
        image = pulled[found["names"][0]]
        assert (found["size"], found["freed"], found["complete"]) == (
            size(image),
            size(image),
            True,
        )
        assert found["platforms"][0] == "linux/amd64"
    assert online["totals"] == {
        "images": 3,
        "size": sum(map(size, pulled.values())),
        "other": 0,
    }
    (shown,) = told(entrepot, "show", "hub.example.test/acme/app:2")["images"]
    assert {one["digest"] for one in shown["objects"]} == {
        *(one.digest for one in pulled["hub.example.test/acme/app:2"].manifests),
        *(one.digest for one in pulled["hub.example.test/acme/app:2"].blobs),
    }
    table = command(entrepot, "ls", "--sort", "size", "-o", "wide").stdout.splitlines()
    assert table[0].split()[0] == "IMAGE"
    assert table[1].startswith("hub.example.test/acme/app:2 ")
    assert table[-1].startswith("3 images, ")
    assert len(command(entrepot, "ls", "--next").stdout.splitlines()) > len(pulled)
    assert "linux/amd64" in command(entrepot, "show", "hub.example.test/acme/app:1").stdout
    assert names(entrepot, "tool") == {"ports.example.test:5443/team/tool:latest"}
    shown_at = on_terminal(entrepot, 60, "ls")
    assert max(map(len, shown_at)) <= 60
    assert shown_at[1].startswith("hub.exam")
    assert entrepot.terminate() == 0
    assert told(entrepot, "ls") == online
    entrepot.start()
    assert "database_damaged" not in entrepot.log
    assert told(entrepot, "ls") == online


def test_what_is_removed_is_fetched_again_and_the_rest_stays(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, pulled: dict[str, Image]
) -> None:
    """Of a running proxy and, with it stopped, of its folder."""
    name, other = "hub.example.test/acme/app:1", "hub.example.test/acme/app:2"
    would = told(entrepot, "rm", name, "--dry-run")
    assert (would["removed"], would["freed"], would["dry_run"]) == (
        [name],
        size(pulled[name]),
        True,
    )
    assert name in names(entrepot)
    finished = command(entrepot, "rm", name)
    assert (finished.returncode, finished.stdout) == (0, f"removed {name}\n")
    assert " freed" in finished.stderr
    assert " images_removed images=1 size=" in entrepot.log
    assert names(entrepot) == pulled.keys() - {name}
    mark = upstreams.mark()
    assert set(pull(client, other, pulled[other])) == {"entrepot; hit"}
    assert [one for one in upstreams.requests(mark) if one.method == "GET"] == []
    assert set(pull(client, name, pulled[name])) == {"entrepot; fwd=miss; stored"}
    entrepot.terminate()
    assert command(entrepot, "rm", "hub.example.test/").returncode == 0
    entrepot.start()
    assert names(entrepot) == {"ports.example.test:5443/team/tool:latest"}
    client = entrepot.client()
    assert set(pull(client, other, pulled[other])) == {"entrepot; fwd=miss; stored"}


def test_what_cannot_be_done_is_one_line_and_status_1(
    entrepot: Entrepot, pulled: dict[str, Image]
) -> None:
    """On standard error; nothing is done then."""
    for words, reason in (
        (("show", "redis:7"), "docker.io/library/redis:7: not cached"),
        (("rm", "hub.example.test/acme/app:1", "nothing/here"), "not cached"),
        (("show", "UPPER"), "expected an image"),
        (("unpin", "redis"), "not cached"),
        (("ls", "--data", str(entrepot.folder / "none")), "there is none; see --data"),
    ):
        finished = command(entrepot, *words)
        assert (finished.returncode, finished.stdout) == (1, "")
        assert finished.stderr.startswith("entrepot: ")
        assert reason in finished.stderr
        assert finished.stderr.count("\n") == 1
    assert names(entrepot) == pulled.keys()
    assert command(entrepot, "ls", "--sort", "age").returncode == 2


def test_a_pinned_image_survives_the_others(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """Of 16 images of 2 MiB into 16 MiB it is the oldest, and stays a hit."""
    entrepot = start_entrepot(size=str(16 * MIB))
    client = entrepot.client()
    made = {
        f"hub.example.test/acme/pinned:{n}": images.image(f"pinned-{n}", [2 * MIB])
        for n in range(16)
    }
    first, *_ = made
    for name, image in made.items():
        upstreams.push(image, name)
        pull(client, name, image)
        entrepot.await_stored(blob.digest for blob in image.blobs)
        if name == first:
            assert command(entrepot, "pin", name).stdout == f"pinned {name}\n"
    assert set(pull(client, first, made[first])) == {"entrepot; hit"}
    (found,) = told(entrepot, "ls", first)["images"]
    assert (found["pinned"], found["complete"]) == (True, True)
    refused = command(entrepot, "pin", "hub.example.test/")
    assert (refused.returncode, "at most half of the limit" in refused.stderr) == (1, True)
    assert command(entrepot, "rm", first).returncode == 1
    assert command(entrepot, "unpin", first).returncode == 0
    assert command(entrepot, "rm", first).returncode == 0


def test_commands_at_once_and_pulls_beside_them(
    entrepot: Entrepot, client: Client, pulled: dict[str, Image]
) -> None:
    """Each gets an answer that was true, and no pull fails."""
    name, other = "hub.example.test/acme/app:1", "hub.example.test/acme/app:2"
    with ThreadPoolExecutor(6) as pool:
        pulls = [pool.submit(pull, client, other, pulled[other]) for _ in range(6)]
        runs = [
            pool.submit(command, entrepot, *words)
            for words in (("rm", name), ("ls",), ("rm", name), ("show", other), ("ls", "--next"))
        ]
        codes = [run.result().returncode for run in runs]
        assert all(set(one.result()) == {"entrepot; hit"} for one in pulls)
    assert sorted(codes)[:4] == [0, 0, 0, 0]
    assert names(entrepot) == pulled.keys() - {name}
    assert "Traceback" not in entrepot.log


def let_in(entrepot: Entrepot) -> None:
    """Let any user enter the data folder."""
    for path in (entrepot.data, *entrepot.data.parents):
        if path.is_relative_to(entrepot.folder.parent.parent):
            path.chmod(0o711)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_leaves_no_file_of_its_own_behind(entrepot: Entrepot) -> None:
    """Which a proxy that runs as another user could not read at its next start."""
    entrepot.terminate()
    files = [entrepot.data, *entrepot.data.rglob("*")]
    for path in files:
        os.chown(path, OTHER_USER, OTHER_USER)
    let_in(entrepot)
    assert names(entrepot) == set()
    found = [entrepot.data, *entrepot.data.rglob("*")]
    # To change an owner is a change of the databases, after which they are not known to be clean.
    assert sorted(found) == [path for path in sorted(files) if path.name != "clean"]
    assert {path.stat().st_uid for path in found} == {OTHER_USER}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused(entrepot: Entrepot) -> None:
    """Even where the modes of the folders and the socket let it in."""
    socket = entrepot.data / "control.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    let_in(entrepot)
    socket.chmod(0o666)
    who = [program("setpriv"), f"--reuid={OTHER_USER}", "--clear-groups"]
    finished = subprocess.run(
        [*who, "/usr/bin/python3", "-c", SAY, str(socket)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path("/"),
    )
    assert json.loads(finished.stdout)["code"] == "refused", finished.stderr
    assert f' control_refused reason="user {OTHER_USER} is not its owner"' in entrepot.log
    assert names(entrepot) == set()
