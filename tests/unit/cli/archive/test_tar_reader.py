"""Tars as others write them, and as an enemy does: nothing but whole objects is read."""

import contextlib
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.app.start_error import StartError
from entrepot.cli.archive import tar_reader
from entrepot.cli.archive.import_plan import ImportedImage, planned
from entrepot.cli.archive.tar_reader import read_archive
from entrepot.protocol.identifiers import Digest
from unit.storage.inventory.world import INDEX, MANIFEST, Made, image, index

ONE, TWO = image(b"base" * 99, b"one"), image(b"base" * 99, b"two", arch="arm64")
NAME = "registry.example.test/team/app:1"
Fill = Callable[[tarfile.TarFile], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "partial").mkdir()
    return tmp_path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def add_objects(archive: tarfile.TarFile, made: Made, *, without: frozenset[Digest]) -> None:
    for digest, content in made.objects().items():
        if digest not in without:
            add(archive, f"blobs/{digest.algorithm}/{digest.hex}", content)


def add_index(archive: tarfile.TarFile, *entries: dict[str, object]) -> None:
    add(archive, "index.json", json.dumps({"manifests": entries}).encode())


def entry(made: Made, name: str | None = NAME, **annotations: str) -> dict[str, object]:
    named = {} if name is None else {"io.containerd.image.name": name}
    return {
        "mediaType": made.media_type,
        "digest": str(made.digest),
        "size": len(made.content),
        "annotations": {**named, **annotations},
    }


def tar(fill: Fill) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        fill(archive)
    return out.getvalue()


def of(made: Made, *entries: dict[str, object], without: frozenset[Digest] = frozenset()) -> bytes:
    """A tar of an image, or without some of its objects."""

    def fill(archive: tarfile.TarFile) -> None:
        add_objects(archive, made, without=without)
        add_index(archive, *(entries or (entry(made),)))

    return tar(fill)


def images(folder: Path, content: bytes, named: str | None = None) -> list[ImportedImage]:
    """What would be taken in of a tar; nothing is left of it then."""
    try:
        with read_archive(io.BytesIO(content), folder, lambda _: None) as archive:
            return planned(archive, named)
    finally:
        assert list((folder / "partial").iterdir()) == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_image_is_read(folder: Path, compress: Callable[[bytes], bytes]) -> None:
    """In the order in which it is to be kept: blobs before what lists them."""
    (found,) = images(folder, compress(of(ONE)))
    assert (str(found.name), found.tag, found.root) == (NAME, "1", ONE.digest)
    assert set(found.blobs) == set(ONE.blobs)
    assert list(found.manifests) == [ONE.digest]
    assert found.manifests[ONE.digest].media_type == MANIFEST
    assert found.size == ONE.size


def test_an_index_is_read_with_what_is_there_of_it(folder: Path) -> None:
    whole = index(ONE, TWO)
    (found,) = images(folder, of(whole))
    assert list(found.manifests) == [ONE.digest, TWO.digest, whole.digest]
    assert found.manifests[whole.digest].media_type == INDEX
    only = frozenset(TWO.objects()) - frozenset(ONE.objects())
    (found,) = images(folder, of(whole, without=only))
    assert list(found.manifests) == [ONE.digest, whole.digest]


@pytest.mark.parametrize(
    ("made", "said", "named", "want"),
    [
        ({}, None, "redis", "docker.io/library/redis:latest"),
        ({"org.opencontainers.image.ref.name": "quay.io/a/b:2"}, None, None, "quay.io/a/b:2"),
        ({"org.opencontainers.image.ref.name": "2"}, "quay.io/a/b:1", None, "quay.io/a/b:1"),
        ({}, f"quay.io/a/b@{ONE.digest}", None, f"quay.io/a/b@{ONE.digest}"),
        ({}, "quay.io/a/b:1", "x.test/y:3", "x.test/y:3"),
    ],
)
def test_names(
    folder: Path, made: dict[str, str], said: str | None, named: str | None, want: str
) -> None:
    """As docker, containerd, skopeo and podman write them, or as the administrator says."""
    (found,) = images(folder, of(ONE, entry(ONE, said, **made)), named)
    assert str(found.name) == want


def test_annotations_that_are_none(folder: Path) -> None:
    (found,) = images(folder, of(ONE, {**entry(ONE), "annotations": [1]}), "redis:7")
    assert str(found.name) == "docker.io/library/redis:7"


def test_a_registry_without_tls(folder: Path) -> None:
    origin = {"io.entrepot.registry": "http://localhost:5000"}
    (found,) = images(folder, of(ONE, entry(ONE, "localhost:5000/a/b:1", **origin)))
    assert str(found.repository.origin) == "http://localhost:5000"
    other = {"io.entrepot.registry": "http://evil.test"}
    with pytest.raises(StartError, match="is no place of"):
        images(folder, of(ONE, entry(ONE, "localhost:5000/a/b:1", **other)))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry(ONE, None)], "has no name in it; name it by --name"),
        ([entry(ONE, None, **{"org.opencontainers.image.ref.name": "1"})], "but for '1'"),
        ([entry(ONE, "../../etc/passwd")], "expected"),
        ([entry(ONE, "ghcr.io/")], "expected the name of one image"),
        ([entry(ONE, f"a/b@sha256:{'0' * 64}")], "is sha256:"),
        ([entry(TWO)], "incomplete, sha256:"),
        ([{"digest": "md5:0"}], "expected sha256"),
        ([{"digest": 7}], "to have a digest"),
        (["text"], "expected descriptors"),
        ([{**entry(ONE), "annotations": [1]}], "has no name in it"),
        ([], "there is no image in it"),
    ],
)
def test_a_wrong_index_is_told_in_a_line(folder: Path, entries: list[object], said: str) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add_objects(archive, ONE, without=frozenset())
        add(archive, "index.json", json.dumps({"manifests": entries}).encode())

    with pytest.raises(StartError, match=r"^[^\n]+\Z") as error:
        images(folder, tar(fill))
    assert said in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 99_999, b'{"manifests": 7}'])
def test_an_index_that_is_none(folder: Path, content: bytes) -> None:
    with pytest.raises(StartError, match=r"index.json"):
        images(folder, tar(lambda archive: add(archive, "index.json", content)))


def test_a_layer_that_is_missing_is_told(folder: Path) -> None:
    layer = Digest.of(b"one")
    with pytest.raises(StartError, match=f"incomplete, {layer} is not in the archive"):
        images(folder, of(ONE, without=frozenset({layer})))
    with pytest.raises(StartError, match="none of its platforms"):
        images(folder, of(index(ONE), without=frozenset(ONE.objects())))


def test_a_manifest_with_other_bytes_is_told(folder: Path) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, f"blobs/sha256/{ONE.digest.hex}", b"{}")
        add_index(archive, entry(ONE))

    with pytest.raises(StartError, match="do not hash to the digest"):
        images(folder, tar(fill))


_BLOB = f"blobs/sha256/{ONE.digest.hex}"


def sparse(archive: tarfile.TarFile) -> None:
    """A member of 1 TiB that takes nothing (GNU's sparse format 1.0)."""
    member = tarfile.TarInfo(_BLOB)
    member.size = 512
    member.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": _BLOB,
        "GNU.sparse.realsize": str(2**40),
    }
    archive.addfile(member, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))


def twice(*names: str) -> Fill:
    def fill(archive: tarfile.TarFile) -> None:
        for name in names:
            add(archive, name, b"{}")

    return fill


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (lambda a: add(a, _BLOB, type=tarfile.SYMTYPE, linkname="/etc/shadow"), "no plain file"),
        (lambda a: add(a, _BLOB, type=tarfile.LNKTYPE, linkname="index.json"), "no plain file"),
        (lambda a: add(a, _BLOB, type=tarfile.CHRTYPE), "no plain file"),
        (lambda a: add(a, _BLOB, type=tarfile.FIFOTYPE), "no plain file"),
        (lambda a: add(a, _BLOB, type=tarfile.DIRTYPE), "no plain file"),
        (lambda a: add(a, "index.json", type=tarfile.SYMTYPE, linkname="x"), "no plain file"),
        (sparse, "no plain file"),
        (twice(_BLOB, _BLOB), "is in it twice"),
        (twice("index.json", "./index.json"), "there twice"),
        (lambda a: add(a, "index.json", b" " * (4 * 1024 * 1024 + 1)), "too large"),
        (lambda a: add(a, "../../index.json"), "no index.json"),
        (lambda a: add(a, "/index.json"), "no index.json"),
        (lambda a: add(a, f"../{_BLOB}", b"x"), "no index.json"),
        (lambda a: add(a, f"blobs/sha256/{'A' * 64}", b"x"), "no index.json"),
        (lambda a: add(a, f"blobs/sha512/{'a' * 64}", b"x"), "no whole tar"),
        (lambda a: add(a, "x", pax_headers={"comment": "x" * 2**21}), "a header in it is too long"),
    ],
)
def test_what_is_no_plain_object_is_refused(folder: Path, fill: Fill, said: str) -> None:
    """Nothing appears anywhere but in our own files, which are gone then."""
    before = set(folder.parent.rglob("*"))
    with pytest.raises(StartError, match=r"^[^\n]+\Z") as error:
        images(folder, tar(fill))
    assert said in str(error.value)
    assert set(folder.parent.rglob("*")) == before


def test_what_the_disk_has_no_room_for_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known by its head already."""
    head = tarfile.TarInfo(_BLOB)
    head.size = 2**50
    with pytest.raises(StartError, match=f"the disk has no room for its {2**50} bytes"):
        images(folder, head.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    monkeypatch.setattr(tar_reader, "_MOST_MEMBERS", 2)
    with pytest.raises(StartError, match="more than 2 members"):
        images(folder, of(ONE))


def test_a_cut_tar_is_told(folder: Path) -> None:
    """Wherever it is cut, but for the zeros of its end."""
    whole = of(ONE)
    rng = range(0, len(whole) - 10240, 701)
    for length in (*rng, 1, 511, 513):
        with pytest.raises(StartError):
            images(folder, whole[:length])
    packed = gzip.compress(whole)
    with pytest.raises(StartError):
        images(folder, packed[: len(packed) // 2])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 8000), st.binary(min_size=1, max_size=40)), max_size=4))
def test_no_bytes_are_a_failure_of_ours(folder: Path, changes: list[tuple[int, bytes]]) -> None:
    """A tar with other bytes here and there is read, or told."""
    content = bytearray(of(ONE))
    for place, data in changes:
        content[place : place + len(data)] = data
    with contextlib.suppress(StartError):
        images(folder, bytes(content))


def test_nobody_else_may_read_the_files(folder: Path) -> None:
    with read_archive(io.BytesIO(of(ONE)), folder, lambda _: None) as archive:
        files = list(archive.files.values())
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert all(path.name.startswith("push-import-") for path in files)
