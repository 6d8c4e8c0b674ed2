"""What cannot be had again, saved from a proxy that runs and put back where there is none."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rig.cached import command, pull, told
from rig.client import Client
from rig.images import ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"


def contents(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {
            one.name: content.read()
            for one in archive
            if (content := archive.extractfile(one)) is not None
        }


def test_backup_and_restore(
    entrepot: Entrepot,
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    start_entrepot: "StartEntrepot",
) -> None:
    """The clients of the new machine notice nothing: the authority is the same."""
    name, image = f"{HUB}/backup/app:1", images.image("backup")
    upstreams.push(image, name)
    pull(client, name, image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    assert command(entrepot, "pin", name).returncode == 0
    settings = entrepot.folder / "entrepot.toml"
    settings.write_text('max_stale = "7d"\n')
    file = entrepot.folder / "backup.tgz"
    assert command(entrepot, "backup", "-o", "-", "--json").returncode == 2
    finished = command(entrepot, "backup", "--config", str(settings), "-o", str(file))
    assert (finished.returncode, finished.stdout) == (0, "")
    assert "the private key of the authority is in it" in finished.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    saved = contents(file)
    described = json.loads(saved["backup.json"])
    assert described["contents"] == [one for one in saved if one != "backup.json"]
    assert described["pinned"] == [f"{HUB}/backup/app@{image.digest}"]
    assert b"PRIVATE KEY" in saved["data/ca/mitmproxy-ca.pem"]
    assert saved["settings/entrepot.toml"] == settings.read_bytes()
    assert [path.name for path in entrepot.data.glob("backup-*")] == []

    fingerprint = entrepot.ca_pem
    other = start_entrepot()
    assert other.ca_pem != fingerprint
    running = command(other, "restore", str(file))
    assert (running.returncode, "another entrepot is using it" in running.stderr) == (1, True)
    other.terminate()
    refused = command(other, "restore", str(file))
    assert (refused.returncode, "already; see --force" in refused.stderr) == (1, True)
    done = told(other, "restore", str(file), "--force")
    assert done["pinned"] == described["pinned"]
    assert (Path(done["replaced"]) / "ca/mitmproxy-ca.pem").exists()
    assert (other.data / "restored-entrepot.toml").read_bytes() == settings.read_bytes()
    other.start()
    assert other.ca_pem == fingerprint
    assert set(pull(other.client(), name, image)) == {"entrepot; fwd=miss; stored"}
    assert "database_damaged" not in other.log
    modes = {path.stat().st_mode & 0o077 for path in other.data.rglob("*")}
    assert modes == {0}

    entrepot.terminate()
    stopped = told(entrepot, "backup", "-o", str(entrepot.folder / "stopped.tgz"))
    assert "data/index/cache.db" in stopped["contents"]
    entrepot.start()
    assert "store_recovered" not in entrepot.log  # it is as an orderly end left it
    assert told(entrepot, "ls")["images"][0]["pinned"] is True


def test_a_new_folder_is_made(entrepot: Entrepot, tmp_path: Path) -> None:
    """Or stays unmade where the backup is none."""
    file = entrepot.folder / "backup.tgz"
    assert command(entrepot, "backup", "-o", str(file)).returncode == 0
    new = tmp_path / "new"
    finished = command(entrepot, "restore", str(file), "--data", str(new))
    assert finished.returncode == 0, finished.stderr
    assert "restored ca" in finished.stdout.splitlines()
    assert (new / "ca/mitmproxy-ca.pem").read_bytes() == (
        entrepot.data / "ca/mitmproxy-ca.pem"
    ).read_bytes()
    none = tmp_path / "none"
    assert command(entrepot, "restore", str(tmp_path / "x"), "--data", str(none)).returncode == 1
    (tmp_path / "zero.tgz").write_bytes(b"")
    file = tmp_path / "zero.tgz"
    assert command(entrepot, "restore", str(file), "--data", str(none)).returncode == 1
    assert not none.exists()


def changed(content: dict[str, bytes], **more: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in {**content, **more}.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return out.getvalue()


def linked(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("data/ca/mitmproxy-ca.pem")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(member)
    del content
    return out.getvalue()


WRONG: list[tuple[Callable[[dict[str, bytes]], bytes], str]] = [
    (lambda c: changed(c, **{"../../etc/passwd": b"x"}), "is in it"),
    (lambda c: changed(c, **{"data/ca/../x": b"x"}), "is in it"),
    (lambda c: changed(c, **{"data/blobs/x": b"x"}), "is in it"),
    (linked, "is no plain file"),
    (lambda c: changed(c)[:2000], "it is no whole backup"),
    (lambda c: changed({n: b for n, b in c.items() if n != "backup.json"}), "it is no backup"),
    (lambda c: changed(c, **{"backup.json": b"[]"}), "cannot be read"),
    (lambda c: changed(c, **{"data/format": b"9\n"}), "another version wrote it"),
    (lambda c: changed(c, **{"data/ca/mitmproxy-ca.pem": b"x"}), "is not a PEM file"),
    (lambda c: changed(c, **{"data/index/cache.db": b"x" * 5000}), "is damaged: file is not"),
]


def test_what_is_no_sound_backup_changes_nothing(entrepot: Entrepot, tmp_path: Path) -> None:
    """One line says why, and the folder is as it was."""
    file = entrepot.folder / "backup.tgz"
    assert command(entrepot, "backup", "-o", str(file)).returncode == 0
    saved = contents(file)
    entrepot.terminate()
    before = {path: path.read_bytes() for path in entrepot.data.rglob("*") if path.is_file()}
    for make, said in WRONG:
        (tmp_path / "wrong.tgz").write_bytes(make(saved))
        finished = command(entrepot, "restore", str(tmp_path / "wrong.tgz"), "--force")
        assert finished.returncode == 1
        assert said in finished.stderr
        assert finished.stderr.count("\n") == 1
    after = {path: path.read_bytes() for path in entrepot.data.rglob("*") if path.is_file()}
    assert after == before
