"""Exported, read by others, imported: the whole way of an image to where no registry is near."""

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from rig.cached import command, pull, told
from rig.client import Client
from rig.clients import Skopeo
from rig.command import check
from rig.images import Image, ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"
NOWHERE = ["hub.example.test:443:127.0.0.1:1", "plain.example.test:5000:127.0.0.1:1"]


def cached(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, name: str, image: Image
) -> None:
    """Push an image upstream, and have it cached."""
    upstreams.push(image, name)
    pull(client, name, image)
    entrepot.await_stored(blob.digest for blob in image.blobs)


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        return {
            one.name: content.read()
            for one in archive
            if (content := archive.extractfile(one)) is not None
        }


def hub(name: str) -> str:
    """Where an image of Docker Hub's is."""
    return name.replace("docker.io", "registry-1.docker.io")


def test_the_whole_way(
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    start_entrepot: "StartEntrepot",
) -> None:
    """Export, import into another cache whose registries are away, and pull from there."""
    made = {
        f"{HUB}/archive/app:1": images.image("archive-a"),
        f"{HUB}/archive/app:2": images.multi_arch("archive-b"),
        "docker.io/library/archive:3": images.image("archive-c", form="docker"),
    }
    for name, image in made.items():
        upstreams.push(image, hub(name))
    assert told(entrepot, "warm", *made, "--platform", "all")["failed"] == 0
    for image in made.values():
        entrepot.await_stored(blob.digest for blob in image.blobs)
    tar = entrepot.folder / "all.tar"
    written = told(entrepot, "export", *made, "--output", str(tar))
    assert (written["file"], tar.stat().st_mode & 0o777) == (str(tar), 0o600)
    assert {name for one in written["images"] for name in one["names"]} == set(made)
    content = members(tar)
    objects: dict[str, bytes] = {}
    for image in made.values():
        objects |= {one.digest: one.body for one in image.manifests}
        objects |= {blob.digest: blob.read() for blob in image.blobs}
    assert {name: content[name] for name in content if name.startswith("blobs/")} == {
        f"blobs/{digest.replace(':', '/')}": body for digest, body in objects.items()
    }
    assert written["objects"] == len(objects)
    other = start_entrepot(resolve=NOWHERE, max_stale="365d")
    for state in ("running", "stopped"):
        if state == "stopped":
            assert command(other, "rm", f"{HUB}/", "docker.io/").returncode == 0
            other.terminate()
        taken = told(other, "import", str(tar))
        assert [one["name"] for one in taken["images"]] == list(made)
        assert (taken["objects"], taken["size"]) == (written["objects"], written["size"])
        if state == "stopped":
            other.start()
        away = other.client()
        for name, image in made.items():
            statuses = pull(away, hub(name), image)
            assert all(one.startswith("entrepot; hit") for one in statuses)
        assert {name for one in told(other, "ls")["images"] for name in one["names"]} == set(made)
        assert told(other, "verify")["damaged"] == []
    assert " image_imported names=" in other.log
    assert list((other.data / "partial").iterdir()) == []
    again = other.folder / "again.tar"
    assert command(other, "export", *made, "-o", str(again)).returncode == 0
    assert again.read_bytes() == tar.read_bytes()


def test_others_read_it(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """skopeo, by name; and what skopeo writes is read here."""
    need("skopeo")
    name, image = f"{HUB}/archive/skopeo:1", images.image("archive-skopeo")
    cached(entrepot, client, upstreams, name, image)
    tar = entrepot.folder / "skopeo.tar"
    assert command(entrepot, "export", name, "-o", str(tar)).returncode == 0
    skopeo = Skopeo(entrepot.folder / "skopeo", entrepot.route())
    try:
        copy = entrepot.folder / "copy"
        check(skopeo.cli.run("copy", f"oci-archive:{tar}:{name}", f"dir:{copy}"))
        assert (copy / "manifest.json").read_bytes() == image.root.body
        for blob in image.blobs:
            assert (copy / blob.digest.removeprefix("sha256:")).read_bytes() == blob.read()
        theirs = entrepot.folder / "theirs.tar"
        check(skopeo.cli.run("copy", f"dir:{copy}", f"oci-archive:{theirs}:latest"))
    finally:
        skopeo.stop()
    unnamed = command(entrepot, "import", str(theirs))
    assert (unnamed.returncode, "no name in it" in unnamed.stderr) == (1, True)
    taken = told(entrepot, "import", str(theirs), "--name", f"{HUB}/archive/theirs:9")
    assert taken["images"] == [{"name": f"{HUB}/archive/theirs:9", "digest": image.digest}]


def test_platforms_of_an_index(
    entrepot: Entrepot,
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    start_entrepot: "StartEntrepot",
) -> None:
    """Those that are here, or those that are wanted; the index keeps its digest."""
    name, image = f"{HUB}/archive/index:1", images.multi_arch("archive-index")
    cached(entrepot, client, upstreams, name, image)
    tar = entrepot.folder / "arm64.tar"
    written = told(entrepot, "export", name, "--platform", "linux/arm64", "-o", str(tar))
    (only,) = written["images"]
    assert [one.startswith("linux/arm64") for one in only["platforms"]] == [True]
    docker = json.loads(members(tar)["manifest.json"])
    assert [one["RepoTags"] for one in docker] == [[name]]
    missing = command(entrepot, "export", name, "--platform", "plan9/mips", "-o", str(tar))
    assert (missing.returncode, "not cached for plan9/mips" in missing.stderr) == (1, True)
    other = start_entrepot(resolve=NOWHERE)
    taken = told(other, "import", str(tar))
    assert taken["images"] == [{"name": name, "digest": image.digest}]
    away = other.client()
    found = away.manifest(f"https://{HUB}/v2/archive/index/manifests/1")
    assert (found.body, found.headers["Warning"] is not None) == (image.root.body, True)


def test_what_is_not_whole_is_not_written(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Neither a file nor half of one stays."""
    name, image = f"{HUB}/archive/half:1", images.image("archive-half")
    upstreams.push(image, name)
    client.manifest(f"https://{HUB}/v2/archive/half/manifests/1")
    tar = entrepot.folder / "out" / "half.tar"
    tar.parent.mkdir()
    finished = command(entrepot, "export", name, "-o", str(tar))
    assert (finished.returncode, "incomplete, sha256:" in finished.stderr) == (1, True)
    pull(client, name, image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    layer = image.layers[0]
    files = entrepot.data.glob("blobs/??/??/*.val")
    (file,) = [path for path in files if path.stat().st_size == layer.size]
    with file.open("r+b") as opened:
        opened.write(b"rotten")
    finished = command(entrepot, "export", name, "-o", str(tar))
    assert (finished.returncode, f"{layer.digest}: it is damaged" in finished.stderr) == (1, True)
    assert list(tar.parent.iterdir()) == []
    assert command(entrepot, "export", "redis:7", "-o", str(tar)).returncode == 1
    assert command(entrepot, "export", name, "-o", "-", "--json").returncode == 2


def test_private_is_shown_to_nobody(
    entrepot: Entrepot,
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    start_entrepot: "StartEntrepot",
) -> None:
    """But to the clients of --offline-private, while the registry is away."""
    name, image = f"{HUB}/archive/private:1", images.image("archive-private")
    cached(entrepot, client, upstreams, name, image)
    tar = entrepot.folder / "private.tar"
    assert command(entrepot, "export", name, "-o", str(tar)).returncode == 0
    url = f"https://{HUB}/v2/archive/private/manifests/1"
    for networks in ([], ["127.0.0.0/8"]):
        other = start_entrepot(resolve=NOWHERE, offline_private=networks)
        assert told(other, "import", str(tar), "--private")["private"] is True
        answer = other.client().manifest(url)
        assert (answer.status == 200) == bool(networks)
        assert (image.root.body == answer.body) == bool(networks)


def test_a_hostile_archive_changes_nothing(entrepot: Entrepot, tmp_path: Path) -> None:
    """Whatever is wrong with it, the cache is as it was, and one line says what."""
    (tmp_path / "evil.tar").write_bytes(b"\0" * 10240)
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(link)
    with tarfile.open(tmp_path / "wrong.tar", "w") as archive:
        body = b'{"layers": []}'
        index = {"manifests": [{"digest": f"sha256:{'0' * 64}", "annotations": {}}]}
        index["manifests"][0]["annotations"] = {"io.containerd.image.name": "x.test/a/b:1"}
        for name, content in (
            (f"blobs/sha256/{'0' * 64}", body),
            ("index.json", json.dumps(index).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for name, said in (
        ("evil.tar", "no index.json"),
        ("link.tar", "no plain file"),
        ("wrong.tar", "do not hash to the digest"),
        ("none.tar", "no such file"),
    ):
        finished = command(entrepot, "import", str(tmp_path / name))
        assert (finished.returncode, finished.stdout) == (1, "")
        assert said in finished.stderr
        assert finished.stderr.count("\n") == 1
    assert told(entrepot, "ls")["images"] == []
    assert list((entrepot.data / "partial").iterdir()) == []
