"""`entrepot status`: whether it runs, how it does and what it does now; its JSON by the schema."""

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rig.entrepot_command import Terminal, document, entrepot
from rig.faults import FaultServer, Gate
from rig.images import ImageFactory
from rig.ports import free_port
from rig.process import eventually
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"


def test_where_no_proxy_runs(tmp_path: Path) -> None:
    """Nor ever did: both are said, with the folder that was looked at, and the status is 1."""
    data = tmp_path / "data"
    told = document(tmp_path, "status", "status", "--data", data, code=1)
    assert told == {"running": False, "data": str(data), "usage": None}
    finished = entrepot(tmp_path, "status", "--data", data)
    assert finished.returncode == 1
    assert "not running" in finished.stdout
    assert str(data) in finished.stdout


def test_a_running_proxy_and_what_it_does(
    start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory
) -> None:
    """Where it listens, what it holds, a layer on its way with who waits, who does not trust it."""
    port = free_port()
    proxy = start_entrepot(size="400MiB", mirror=[f"127.0.0.1:{port}=docker.io"])
    client, base = proxy.client(), f"https://{HOST}/v2/acme/app"
    image = images.image("status")
    faults.publish(image, "acme/app", "1")
    client.manifest(f"{base}/manifests/1")
    path, slow = faults.add_blob("acme/app", bytes(3 << 20))
    slow.gate = Gate(1 << 20)
    with contextlib.suppress(OSError):
        proxy.stranger().get(f"{base}/manifests/1")
    pull = threading.Thread(target=lambda: proxy.client().get(f"https://{HOST}{path}"))
    pull.start()
    try:
        faults.await_request(path=path, method="GET")
        where = ("--data", proxy.data)

        def downloads() -> list[dict[str, object]]:
            told = document(proxy.folder, "status", "status", *where)
            return [one for one in told["downloads"] if one["done"] >= 1 << 20]

        eventually(lambda: bool(downloads()), what="a download that stands")
        told = document(proxy.folder, "status", "status", *where)
        (download,) = told["downloads"]
        assert download["repositories"] == ["acme/app"]
        assert (download["size"], download["waiting"]) == (3 << 20, 1)
        assert download["clients"] == ["127.0.0.1"]
        assert (told["running"], told["pid"], told["status"]) == (True, proxy.pid, "ok")
        assert told["listening"] == [
            {"as": "proxy", "address": f"127.0.0.1:{proxy.port}", "registry": None},
            {"as": "mirror", "address": f"127.0.0.1:{port}", "registry": "docker.io"},
        ]
        assert told["usage"]["limit"] == 400 << 20
        assert 0 < told["usage"]["held"] < 400 << 20
        assert told["upstreams"][f"https://{HOST}"]["state"] == "ok"
        assert [one["client"] for one in told["untrusting_clients"]] == ["127.0.0.1"]
        terminal = Terminal(proxy.folder, ["status", *where], columns=90)
        assert terminal.end() == 0
        assert "fault.example.test/acme/app" in terminal.text
        assert "3.0 MiB" in terminal.text
        assert "127.0.0.1: pulls go past the cache until the CA is installed" in terminal.text
        assert max(map(len, terminal.text.splitlines())) <= 90
        assert "\x1b[32mok" in terminal.written
        plain = Terminal(proxy.folder, ["status", *where], env={"NO_COLOR": "1"})
        assert plain.end() == 0
        assert "\x1b" not in plain.written
    finally:
        slow.gate.open()
        pull.join()


def test_an_upstream_in_trouble_is_said_until_it_is_well(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer
) -> None:
    """With when and why; a proxy that answers pulls is no failure of the command's."""
    del upstreams
    proxy = start_entrepot()
    proxy.client().get(f"https://{HOST}/v2/")
    faults.limit_after(0, "slow down")
    proxy.client().get(f"https://{HOST}/v2/acme/app/manifests/1")
    told = document(proxy.folder, "status", "status", "--data", proxy.data)
    assert told["status"] == "degraded"
    assert [one["code"] for one in told["reasons"]] == ["upstreams"]
    finished = entrepot(proxy.folder, "status", "--data", proxy.data)
    assert finished.returncode == 0
    assert "Upstreams in trouble" in finished.stdout
    assert "limited" in finished.stdout


def test_after_it_ended_the_folder_says_what_it_holds(
    start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory
) -> None:
    proxy = start_entrepot(size="400MiB")
    image = images.image("status")
    faults.publish(image, "acme/app", "1")
    proxy.client().manifest(f"https://{HOST}/v2/acme/app/manifests/1")
    proxy.terminate()
    told = document(proxy.folder, "status", "status", "--data", proxy.data, code=1)
    assert (told["running"], told["usage"]["limit"]) == (False, 400 << 20)
    assert told["usage"]["held"] >= len(image.root.body)
