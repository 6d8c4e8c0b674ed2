"""`entrepot stats`, `log` and `top`: what was recorded, in numbers, line by line, as it comes."""

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrepot.observe.reading import RecordReader
from rig.entrepot_command import Terminal, document, entrepot
from rig.faults import FaultServer, Gate, status
from rig.images import Image, ImageFactory
from rig.process import clean_environment, eventually
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"


def pull(proxy: Entrepot, image: Image, repository: str, tag: str) -> None:
    client, base = proxy.client(), f"https://{HOST}/v2/{repository}"
    client.manifest(f"{base}/manifests/{tag}")
    for blob in image.blobs:
        client.get(f"{base}/blobs/{blob.digest}")


def recorded(data: Path, count: int) -> None:
    """Wait until so many requests are on the disk."""
    reader = RecordReader(data)
    eventually(lambda: len(reader.requests(most=1000)) >= count, what=f"{count} records")


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory) -> Entrepot:
    """One that served an image twice and another once, and passed on a refusal."""
    proxy = start_entrepot()
    first, second = images.image("did-1"), images.image("did-2")
    faults.publish(first, "acme/app", "1")
    faults.publish(second, "acme/other", "2")
    faults.routes["/v2/acme/none/manifests/3"] = status(404)
    pull(proxy, first, "acme/app", "1")
    proxy.await_stored(blob.digest for blob in first.blobs)
    pull(proxy, first, "acme/app", "1")
    pull(proxy, second, "acme/other", "2")
    proxy.client().manifest(f"https://{HOST}/v2/acme/none/manifests/3")
    recorded(proxy.data, 3 * (1 + len(first.blobs)) + 1)
    return proxy


def test_stats_say_what_was_saved(proxy: Entrepot) -> None:
    """By a running proxy and by its folder the same; nothing of a time when nothing was."""
    where = ("--data", proxy.data)
    told = document(proxy.folder, "stats", "stats", *where)
    total = told["total"]
    assert total["pulls"] == 4
    assert 0 < total["saved"] == total["sent"] - total["from_upstream"]
    assert total["hits"] > 0
    assert sum(told["outcomes"].values()) == total["requests"]
    assert [one["registry"] for one in told["registries"]] == [HOST]
    assert {one["image"]: one["pulls"] for one in told["images"]} == {
        f"{HOST}/acme/app": 2,
        f"{HOST}/acme/other": 1,
        f"{HOST}/acme/none": 1,
    }
    assert [(one["client"], one["pulls"]) for one in told["clients"]] == [("127.0.0.1", 4)]
    few = document(proxy.folder, "stats", "stats", "--since", "all", "--top", "1", *where)
    assert (few["total"], few["since"]) == (total, None)
    assert [one["image"] for one in few["images"]] == [f"{HOST}/acme/app"]
    printed = entrepot(proxy.folder, "stats", *where)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "manifests and blobs" in printed.stdout
    proxy.terminate()
    again = document(proxy.folder, "stats", "stats", *where)
    assert again["total"] == total
    wrong = entrepot(proxy.folder, "stats", "--since", "soon", *where)
    assert wrong.returncode == 2
    assert "--since" in wrong.stderr.splitlines()[-1]


def test_the_log_says_what_was_answered_and_why(proxy: Entrepot) -> None:
    """The latest at the end; of one repository, client or outcome; pulls instead of requests."""
    where = ("--data", proxy.data)
    told = document(proxy.folder, "log", "log", *where)["requests"]
    numbers = [one["number"] for one in told]
    assert numbers == sorted(numbers)
    assert told[-1]["status"] == 404
    last = document(proxy.folder, "log", "log", "-n", "1", *where)["requests"]
    assert last == told[-1:]
    one = document(proxy.folder, "log", "log", f"{HOST}/acme/app", "--outcome", "hit", *where)
    assert {(e["repository"], e["outcome"]) for e in one["requests"]} == {("acme/app", "hit")}
    assert document(proxy.folder, "log", "log", "--client", "10.9.9.9", *where) == {"requests": []}
    pulls = document(proxy.folder, "log", "log", "--pulls", *where)["pulls"]
    assert [one["reference"] for one in pulls] == ["1", "1", "2", "3"]
    lines = entrepot(proxy.folder, "log", f"{HOST}/acme/app", "-n", "2", *where).stdout.splitlines()
    assert len(lines) == 2
    assert all("127.0.0.1" in line and f"{HOST}/acme/app" in line for line in lines)
    assert "held, and the registry allowed it" in lines[-1]
    prefix = entrepot(proxy.folder, "log", f"{HOST}/acme/", *where)
    assert prefix.returncode == 1
    assert "expected one repository" in prefix.stderr


def test_the_log_is_followed_as_it_comes(proxy: Entrepot, faults: FaultServer) -> None:
    """An object a line for programs; ^C ends it."""
    words = ["log", "-f", "-n", "0", "--json", "--data", str(proxy.data)]
    with subprocess.Popen(
        [PYTHON, "-m", "entrepot.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=proxy.folder,
        env=clean_environment(proxy.folder),
    ) as follower:
        try:
            assert follower.stdout is not None
            faults.routes["/v2/acme/new/manifests/9"] = status(404)
            # Whenever it began to look, one of these comes after that.
            os.set_blocking(follower.stdout.fileno(), False)
            line = ""

            def came() -> bool:
                nonlocal line
                proxy.client().manifest(f"https://{HOST}/v2/acme/new/manifests/9")
                line += follower.stdout.readline() if follower.stdout else ""
                return line.endswith("\n")

            eventually(came, what="a line")
        finally:
            follower.terminate()
    assert json.loads(line)["repository"] == "acme/new"


def test_top_shows_what_goes_on_until_q(proxy: Entrepot, faults: FaultServer) -> None:
    """Live on a terminal, whose mode is as before then; once where it is none."""
    path, slow = faults.add_blob("acme/slow", bytes(2 << 20))
    slow.gate = Gate(1 << 20)
    where = ("--data", proxy.data)
    with proxy.client().open("GET", f"https://{HOST}{path}"):
        faults.await_request(path=path, method="GET")
        terminal = Terminal(proxy.folder, ["top", *where], columns=120)
        terminal.read_until(f"{HOST}/acme/slow")
        terminal.read_until("Clients, last minute")
        terminal.type("q")
        assert terminal.end() == 0
        assert "\x1b[?1049h" in terminal.written  # on a screen of its own
        assert terminal.written.rstrip().endswith(("\x1b[?1049l", "\x1b[?25h"))
        told = document(proxy.folder, "top", "top", *where)
        assert [one["repositories"] for one in told["downloads"]] == [["acme/slow"]]
        assert told["last_minute"]["clients"][0]["name"] == "127.0.0.1"
        printed = entrepot(proxy.folder, "top", *where)
        assert f"{HOST}/acme/app" in printed.stdout
        assert "\x1b" not in printed.stdout
        slow.gate.open()
    proxy.terminate()
    ended = entrepot(proxy.folder, "top", *where)
    assert ended.returncode == 1
    assert "no proxy runs on" in ended.stderr


def test_top_ends_by_an_interrupt(proxy: Entrepot) -> None:
    terminal = Terminal(proxy.folder, ["top", "--data", proxy.data])
    terminal.read_until("downloads:")
    terminal.type("\x03")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text


def test_where_nothing_was_recorded(tmp_path: Path, start_entrepot: "StartEntrepot") -> None:
    """No failure, but a word on standard error; without a folder there is a failure."""
    proxy = start_entrepot(record="none")
    told = entrepot(proxy.folder, "stats", "--data", proxy.data, "--json")
    assert json.loads(told.stdout)["total"]["requests"] == 0
    assert "no request was recorded" in told.stderr
    missing = entrepot(tmp_path, "log", "--data", tmp_path / "missing")
    assert missing.returncode == 1
    assert "there is none; see --data" in missing.stderr
