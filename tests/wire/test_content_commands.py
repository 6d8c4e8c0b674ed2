"""Pruned, verified and warmed: the commands on a running proxy, and on the folder that it left."""

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

from rig.cached import command, pull, told
from rig.client import Client, basic
from rig.entrepot_command import all_written
from rig.images import KIB, MIB, ImageFactory
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"


def names(entrepot: Entrepot) -> set[str]:
    return {name for one in told(entrepot, "ls")["images"] for name in one["names"]}


def test_prune(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What a dry run says is what the run does, of a running proxy or not."""
    made = {f"{HUB}/prune/app:{n}": images.image(f"prune-{n}") for n in range(4)}
    for name, image in made.items():
        upstreams.push(image, name)
        pull(client, name, image)
        entrepot.await_stored(blob.digest for blob in image.blobs)
    assert command(entrepot, "pin", f"{HUB}/prune/app:0").returncode == 0
    would = told(entrepot, "prune", "--keep-last", "1", "--dry-run")
    assert would["removed"] == [f"{HUB}/prune/app:2", f"{HUB}/prune/app:1"]
    assert would["pinned"] == [f"{HUB}/prune/app:0"]
    assert told(entrepot, "prune", "prune/app", "--keep-last", "1") == {**would, "dry_run": False}
    assert names(entrepot) == {f"{HUB}/prune/app:0", f"{HUB}/prune/app:3"}
    assert " images_pruned images=2 size=" in entrepot.log
    nothing = command(entrepot, "prune", "--older-than", "1h", "--unused-for", "1h")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    entrepot.terminate()
    finished = command(entrepot, "prune", "--keep-last", "0")
    assert finished.stdout.splitlines()[1].startswith(f"{HUB}/prune/app:3 ")
    assert "1 stay since they are pinned" in finished.stderr
    assert names(entrepot) == {f"{HUB}/prune/app:0"}
    for wrong in ((), ("--older-than", "never"), ("--keep-last", "-1")):
        assert command(entrepot, "prune", *wrong).returncode == 2


def test_verify(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What is damaged is told with its images, and fetched anew by the next pull."""
    name, image = f"{HUB}/verify/app:1", images.image("verify", [64 * KIB, 32 * KIB])
    upstreams.push(image, name)
    pull(client, name, image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    sound = told(entrepot, "verify")
    assert (sound["verified"], sound["damaged"]) == (len(image.blobs) + 1, [])
    assert sound["size"] == sum(blob.size for blob in image.blobs) + len(image.root.body)
    layer = image.layers[0]
    (file,) = [
        path
        for path in entrepot.data.glob("blobs/??/??/*.val")
        if path.stat().st_size == layer.size
    ]
    with file.open("r+b") as opened:
        opened.write(b"rotten")
    found = told(entrepot, "verify", name, status=1)
    (damaged,) = found["damaged"]
    assert (damaged["digest"], damaged["images"]) == (layer.digest, [name])
    assert (entrepot.data / "quarantine").is_dir()
    assert f"object_damaged digest={layer.digest}" in entrepot.log
    assert sorted(pull(client, name, image)) == [
        "entrepot; fwd=miss; stored",
        *["entrepot; hit"] * (len(image.blobs) - 1),
    ]
    entrepot.await_stored([layer.digest])
    entrepot.terminate()
    finished = command(entrepot, "verify")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert f"verified {len(image.blobs) + 1} objects" in finished.stderr


def test_warm(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What was warmed is a hit for the next client; what failed is told, and the status is 1."""
    plain, many = images.image("warm-a"), images.multi_arch("warm-b")
    upstreams.push(plain, f"{HUB}/warm/app:1")
    upstreams.push(many, f"{HUB}/warm/app:2")
    first = told(entrepot, "warm", f"{HUB}/warm/app:1", f"{HUB}/warm/app:2", "--platform", "all")
    assert [one["error"] for one in first["images"]] == [None, None]
    assert [one["digest"] for one in first["images"]] == [plain.digest, many.digest]
    assert first["images"][0]["fetched"] == sum(blob.size for blob in plain.blobs)
    assert len(first["images"][1]["platforms"]) == len(many.children)
    entrepot.await_stored(blob.digest for blob in (*plain.blobs, *many.blobs))
    mark = upstreams.mark()
    assert set(pull(client, f"{HUB}/warm/app:2", many)) == {"entrepot; hit"}
    assert [one for one in upstreams.requests(mark) if one.method == "GET"] == []
    (entrepot.folder / "compose.yaml").write_text(
        f"services: {{a: {{image: '{HUB}/warm/app:1'}}, b: {{image: '{HUB}/warm/none:1'}}}}"
    )
    again = told(entrepot, "warm", "--from", "compose.yaml", status=1)
    held, failed = again["images"]
    assert (held["fetched"], held["held"]) == (0, sum(blob.size for blob in plain.blobs))
    assert failed["error"].startswith("status 404: ")
    finished = command(entrepot, "warm", "--from", "-", stdin=f"{HUB}/warm/app:1\n")
    assert finished.stdout.splitlines()[1].split()[-1] == "cached"
    missing = command(entrepot, "warm", f"{HUB}/warm/app:2", "--platform", "plan9/mips")
    assert missing.returncode == 1
    assert "it is not there for plan9/mips; there is linux/" in missing.stdout
    entrepot.terminate()
    stopped = command(entrepot, "warm", f"{HUB}/warm/app:1")
    assert stopped.returncode == 1
    assert "no proxy runs on" in stopped.stderr


def test_warm_with_a_login(entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory) -> None:
    """Docker's config.json of who runs it counts, and is written nowhere."""
    name, image = "registry.example.test/private/warm:1", images.image("warm-private")
    upstreams.push(image, name)
    refused = told(entrepot, "warm", name, status=1)
    assert refused["images"][0]["error"].startswith("status 401")
    config = entrepot.folder / "docker" / "config.json"
    config.parent.mkdir()
    auth = basic("alice", "wonderland").removeprefix("Basic ")
    config.write_text(json.dumps({"auths": {"registry.example.test": {"auth": auth}}}))
    config.chmod(0o600)
    env = {"DOCKER_CONFIG": str(config.parent)}
    warmed = told(entrepot, "warm", name, env=env)
    assert warmed["images"][0]["error"] is None
    assert auth not in entrepot.log


def test_warm_through_a_proxy_that_asks_for_a_password(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """Which is given in its URL; what the proxy does not cache is told."""
    entrepot = start_entrepot(proxyauth="me:secret", registry=[HUB], only_listed=True)
    name, image = f"{HUB}/warm/password:1", images.image("warm-password")
    upstreams.push(image, name)
    assert "407" in told(entrepot, "warm", name, status=1)["images"][0]["error"]
    proxy = f"http://me:secret@127.0.0.1:{entrepot.port}"
    assert told(entrepot, "warm", name, "--proxy", proxy)["failed"] == 0
    bundle = entrepot.folder / "both.pem"
    bundle.write_bytes(upstreams.authority.pem.read_bytes() + entrepot.ca_pem)
    tunnelled = "ports.example.test:5443/warm/tunnelled:1"
    upstreams.push(image, tunnelled)
    failed = told(entrepot, "warm", tunnelled, "--proxy", proxy, "--ca", str(bundle), status=1)
    assert "is not cached: the proxy tunnels to it" in failed["images"][0]["error"]


def test_progress_is_shown_on_standard_error_alone(
    entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """On a terminal, with rate and ETA; what is printed is for programs all the same."""
    name, image = f"{HUB}/progress/app:1", images.image("progress", [MIB])
    upstreams.push(image, name)
    for words in (("warm", name), ("verify",)):
        master, terminal = pty.openpty()
        try:
            finished = subprocess.run(
                [PYTHON, "-m", "entrepot.cli", *words, "--json", "--data", str(entrepot.data)],
                stdout=subprocess.PIPE,
                stderr=terminal,
                timeout=60,
                check=True,
                cwd=entrepot.folder,
                env=clean_environment(entrepot.folder, TERM="xterm"),
            )
        finally:
            os.close(terminal)
            shown = all_written(master)
        assert json.loads(finished.stdout)
        assert ("verifying" if words == ("verify",) else name) in shown
        entrepot.await_stored(blob.digest for blob in image.blobs)
