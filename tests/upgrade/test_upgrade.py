"""Data folders of other versions: an earlier one's is taken over, a newer one's is refused."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from entrepot.storage.startup.data_folder import FORMAT
from rig.client import Answer, Client
from rig.images import Blob, Image, Manifest
from rig.ports import free_port
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams
from upgrade.old_folder import Pulled, unpack

if TYPE_CHECKING:
    from conftest import StartEntrepot

VERSIONS = ("0.1.0",)
HERE = Path(__file__).parent


def command(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command about a data folder."""
    first, *rest = words
    return subprocess.run(
        [PYTHON, "-m", "entrepot.cli", first, "--data", str(data), *rest],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=data.parent,
        env=clean_environment(data.parent),
    )


def images_of(data: Path) -> dict[str, dict[str, Any]]:
    """What `entrepot ls` lists, by the images' full names."""
    finished = command(data, "ls", "-o", "json")
    assert finished.returncode == 0, finished.stderr
    return {image["names"][0]: image for image in json.loads(finished.stdout)["images"]}


def pull(client: Client, image: Pulled, headers: Mapping[str, str]) -> dict[str, Answer]:
    """Get every manifest by its digest, the last by its tag as well, and every blob."""
    answers = {image.tag: client.manifest(f"{image.base}/manifests/{image.tag}", headers)}
    for digest in image.manifests:
        answers[digest] = client.manifest(f"{image.base}/manifests/{digest}", headers)
    for digest in image.blobs:
        answers[digest] = client.get(f"{image.base}/blobs/{digest}", headers)
    assert {one.status for one in answers.values()} == {200}, image
    for digest in (*image.manifests, *image.blobs):
        assert f"sha256:{hashlib.sha256(answers[digest].body).hexdigest()}" == digest
    assert answers[image.tag].digest == image.manifests[-1]
    return answers


def as_registry_has_it(image: Pulled, answers: Mapping[str, Answer], folder: Path) -> Image:
    """The image of these answers, to be put into a registry."""
    manifests = [
        Manifest(answers[one].headers["Content-Type"], answers[one].body) for one in image.manifests
    ]
    blobs = []
    for digest in image.blobs:
        path = folder / digest.replace(":", "-")
        path.write_bytes(answers[digest].body)
        size = len(answers[digest].body)
        blobs.append(Blob(digest, size, "application/octet-stream", path))
    return Image(manifests[-1], tuple(manifests[:-1]), (), tuple(blobs))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_folder_of_an_earlier_version_is_taken_over(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, folder: Path, version: str
) -> None:
    """Its authority, what it stored, who was given what; and nothing of it is fetched again."""
    data = folder / "data"
    images = unpack(HERE / f"data-{version}.tar.xz", data)
    authority = (data / "ca/mitmproxy-ca.pem").read_bytes()
    mirror = free_port()
    offline = start_entrepot(
        data=str(data), offline=True, offline_private="127.0.0.0/8", mirror=f"127.0.0.1:{mirror}"
    )
    assert offline.ca_pem in authority
    client = offline.client()
    stored = {image.name: pull(client, image, {}) for image in images}
    assert _catalog(offline, mirror) == [
        "docker.io/library/tool",
        "registry.example.test/public/app",
    ]
    assert offline.terminate() == 0

    for image in images:
        made = as_registry_has_it(image, stored[image.name], folder)
        upstreams.push(made, image.name)
    online = start_entrepot(data=str(data))
    client, mark = online.client(), upstreams.mark()
    for image in images:
        account = "alice" if "/private/" in image.name else None
        manifest = f"{image.base}/manifests/{image.tag}"
        pull(
            client, image, {"Authorization": client.authorization(manifest, account, "wonderland")}
        )
        if account:
            anybody = {"Authorization": client.authorization(manifest)}
            assert client.manifest(manifest, anybody).status == 401
            assert client.get(f"{image.base}/blobs/{image.blobs[0]}", anybody).status == 401
    assert upstreams.requests(mark).blob_bytes == 0
    assert (data / "ca/mitmproxy-ca.pem").read_bytes() == authority
    assert "WARNING" not in online.log
    _can_be_pinned(data, {image.manifests[-1] for image in images})
    assert online.terminate() == 0


def _can_be_pinned(data: Path, digests: set[str]) -> None:
    """All are listed, and one is pinned, by the running proxy."""
    found = images_of(data)
    assert {one["digest"] for one in found.values() if one["complete"]} == digests
    first, *rest = found
    assert command(data, "pin", first).returncode == 0
    now = images_of(data)
    assert now[first]["pinned"]
    assert not any(now[name]["pinned"] for name in rest)


def _catalog(proxy: Entrepot, port: int) -> list[str]:
    """What a mirror lists, of all registries."""
    client = Client(port, proxy.client()._context)  # noqa: SLF001
    answer = client.get(f"http://127.0.0.1:{port}/v2/_catalog")
    names: list[str] = json.loads(answer.body)["repositories"]
    return names


@pytest.mark.parametrize("words", [("serve", "--listen", "127.0.0.1:0"), ("ls",)], ids=" ".join)
def test_the_folder_of_a_newer_version_is_refused_and_left_as_it_is(
    folder: Path, words: tuple[str, ...]
) -> None:
    """In one line, which says what to do, with status 1."""
    data = folder / "data"
    unpack(HERE / f"data-{VERSIONS[-1]}.tar.xz", data)
    newer = int(FORMAT) + 1
    (data / "format").write_text(f"{newer}\n")
    before = _contents(data)
    finished = command(data, *words)
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("entrepot: ")
    assert str(data) in line
    assert line.endswith(
        f"a newer version of entrepot wrote it: its format is {newer}, this version reads {FORMAT};"
        " install that version again, or name another folder by --data"
    )
    assert _contents(data) == before


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
