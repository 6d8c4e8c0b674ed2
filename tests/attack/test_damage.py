"""Damage at rest: pulls go on, nothing corrupt passes as whole, and one line says what happened.

Files and databases are damaged as disks, kills and other programs do it, below a running proxy
and between two starts.
"""

import hashlib
import json
import os
import re
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.disk import small_disk
from rig.faults import Exchange, FaultServer, Handler, error, status
from rig.images import KIB, MIB, Image, ImageFactory, incompressible
from rig.needs import need_root
from rig.ports import free_port
from rig.process import eventually, program
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.wire
FAULT = "https://fault.example.test"
DAY = 86400.0

Damage = Callable[[Path], object]


def content(seed: str, size: int = 300 * KIB) -> bytes:
    return b"".join(incompressible(seed, size))


def add(faults: FaultServer, seed: str, size: int = 300 * KIB) -> tuple[str, bytes]:
    """A blob upstream: its URL and its bytes."""
    body = content(seed, size)
    return FAULT + faults.add_blob("app", body)[0], body


def store(entrepot: Entrepot, client: Client, *urls: str) -> None:
    """Pull blobs, and wait until they are committed."""
    want = entrepot.counter("blob_stored") + len(urls)
    for url in urls:
        client.get(url)
    eventually(lambda: entrepot.counter("blob_stored") >= want, within=20, what=f"{want} stored")


def pulls(client: Client, image: Image) -> bool:
    """Whether an image of the fault server comes whole."""
    base = f"{FAULT}/v2/app"
    manifest = client.manifest(f"{base}/manifests/1")
    blobs = [client.get(f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    return manifest.body == image.root.body and all(
        answer.body == blob.read() for answer, blob in zip(blobs, image.blobs, strict=True)
    )


def file_of(entrepot: Entrepot, body: bytes) -> Path:
    """The file in which a blob is stored."""
    (file,) = (
        path
        for path in entrepot.data.glob("blobs/??/??/*.val")
        if path.stat().st_size == len(body) and path.read_bytes() == body
    )
    return file


def change(database: Path, sql: str, *values: object) -> None:
    """Change rows behind the proxy's back."""
    with closing(sqlite3.connect(database / "cache.db", timeout=10)) as connection:
        connection.execute(sql, values)
        connection.commit()


def flip(path: Path, at: int = -1) -> None:
    """Turn one bit; the length stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rot(entrepot: Entrepot, body: bytes, *, verified: float) -> None:
    """Turn a bit as a disk does: nothing that the file system knows of the file has changed."""
    file, digest = file_of(entrepot, body), f"sha256:{hashlib.sha256(body).hexdigest()}"
    flip(file, len(body) // 2)
    state = file.stat()
    tag = {
        "type": "application/octet-stream",
        "size": len(body),
        "file": [state.st_ino, state.st_mtime_ns, state.st_ctime_ns],
        "verified": verified,
    }
    sql = "UPDATE Cache SET tag = ? WHERE key = ?"
    change(entrepot.data / "blobs", sql, json.dumps(tag), f"blob {digest}")


def counters(entrepot: Entrepot) -> Counter[str]:
    return Counter(json.loads(entrepot.local("/healthz").body)["counters"])


def damage_lines(entrepot: Entrepot) -> list[str]:
    return re.findall(r" object_damaged digest=sha256:.*", entrepot.log)


def replace(path: Path) -> None:
    """Another file under the name, as a restored backup is."""
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(b"x" * size)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Damage] = {
    "flipped at the start": lambda path: flip(path, 0),
    "flipped at the end": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "other bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "replaced": replace,
    "a folder": make_folder,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_damaged_file_is_fetched_again(
    entrepot: Entrepot, faults: FaultServer, *, restarted: bool
) -> None:
    """Whatever became of a stored file, the next client gets the right bytes, and a hit after it.

    Damage is found before the first byte leaves: the transfer is not even cut.
    """
    client = entrepot.client()
    blobs = {name: add(faults, f"{name} {restarted}") for name in DAMAGES}
    store(entrepot, client, *(url for url, _ in blobs.values()))
    files = {name: file_of(entrepot, body) for name, (_, body) in blobs.items()}
    if restarted:
        entrepot.terminate()
    for name, damage in DAMAGES.items():
        damage(files[name])
    if restarted:
        entrepot.start()
    before = entrepot.counter("blob_stored")
    for name, (url, body) in blobs.items():
        answer = client.get(url)
        assert (name, answer.body == body) == (name, True)
        assert (name, answer.cache_status) == (name, "entrepot; fwd=miss; stored")
    eventually(
        lambda: entrepot.counter("blob_stored") == before + len(blobs), within=20, what="stored"
    )
    for url, body in blobs.values():
        answer = client.get(url)
        assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
    assert len(damage_lines(entrepot)) >= 6
    assert "Traceback" not in entrepot.log


def test_a_touched_file_is_verified_once(entrepot: Entrepot, faults: FaultServer) -> None:
    """A backup that changes times costs one hash pass, no fetch; HEAD costs none."""
    client = entrepot.client()
    url, body = add(faults, "touched")
    store(entrepot, client, url)
    assert client.get(url).body == body
    assert entrepot.counter("blob_rehashed") == 0
    os.utime(file_of(entrepot, body), (2**32, 2**32))  # in the future, as a wrong clock leaves it
    assert client.head(url).headers["Age"] == "0"
    assert entrepot.counter("blob_rehashed") == 0
    for _ in range(2):
        answer = client.get(url)
        assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
        assert answer.headers["Age"] == "0"
    assert entrepot.counter("blob_rehashed") == 1


def test_who_may_not_have_a_blob_does_not_make_it_be_verified(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """Promise 2: neither the time of a hash nor a counter tells an outsider that it is here."""
    alice, eve = {"Authorization": "Basic YQ=="}, {"Authorization": "Basic ZQ=="}
    refused = error(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": 'Basic realm="x"'})
    page = status(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
    client = entrepot.client()

    def for_alice(url: str, instead: Handler) -> None:
        path = url.removeprefix(FAULT)
        content = faults.routes[path]

        def answer(exchange: Exchange) -> None:
            known = exchange.request.authorization == alice["Authorization"]
            (content if known else instead)(exchange)

        faults.routes[path] = answer

    def counted(url: str, fields: dict[str, str]) -> Counter[str]:
        """What an outsider's request adds to the counters."""
        before = counters(entrepot)
        try:
            assert client.get(url, fields | eve).status in (200, 401, 502)
        except HTTPException:
            assert url in (other, absent_there)  # a page in the place of a blob is cut
        return counters(entrepot) - before

    url, body = add(faults, "touched, private")
    other, other_body = add(faults, "touched, behind a sign-on")
    absent, absent_there = add(faults, "never pulled")[0], add(faults, "nor this")[0]
    for one, instead in ((url, refused), (absent, refused), (other, page), (absent_there, page)):
        for_alice(one, instead)
    wanted = entrepot.counter("blob_stored") + 2
    for one in (url, other):
        client.get(one, alice)
    eventually(lambda: entrepot.counter("blob_stored") >= wanted, within=20, what="stored")
    for content in (body, other_body):
        os.utime(file_of(entrepot, content), (2**32, 2**32))
    for fields in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}):
        assert counted(url, fields) == counted(absent, fields)
        counted(other, fields)
    assert entrepot.counter("blob_rehashed") == 0
    for number, (one, content) in enumerate(((url, body), (other, other_body)), 1):
        answer = client.get(one, alice)
        assert (answer.body == content, answer.cache_status) == (True, "entrepot; hit")
        assert entrepot.counter("blob_rehashed") == number


@pytest.mark.parametrize("verified", [0.0, 2.0**40], ids=["long ago", "in the future"])
def test_rot_is_found_before_it_is_served(
    entrepot: Entrepot, faults: FaultServer, verified: float
) -> None:
    """A bit that the disk turned shows at the first hit of the day, a wrong clock or not."""
    client = entrepot.client()
    url, body = add(faults, f"rot {verified}")
    store(entrepot, client, url)
    rot(entrepot, body, verified=verified)
    answer = client.get(url)
    assert (answer.body == body, "fwd=miss" in answer.cache_status) == (True, True)
    (line,) = damage_lines(entrepot)
    assert "its bytes do not hash to the digest" in line


def test_scrubbing_finds_rot_that_nobody_asks_for(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """What is damaged goes, with one line; what is sound stays and is not asked for upstream."""
    entrepot = start_entrepot(scrub="1s")
    client = entrepot.client()
    (bad, bad_body), (good, good_body) = add(faults, "scrubbed"), add(faults, "sound")
    store(entrepot, client, bad, good)
    rot(entrepot, bad_body, verified=0.0)
    eventually(lambda: damage_lines(entrepot), within=20, what="found")
    eventually(lambda: entrepot.counter("blob_scrubbed") >= 2, within=20, what="both read")
    faults.reset()
    assert client.get(good).body == good_body
    assert client.get(bad).status == 404
    assert len(damage_lines(entrepot)) == 1


def test_rows_of_an_earlier_version_count_as_never_verified(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """A folder that was written before there were verifications is kept, and verified on use."""
    client = entrepot.client()
    url, body = add(faults, "earlier")
    store(entrepot, client, url)
    entrepot.terminate()
    tag = json.dumps({"type": "application/octet-stream", "size": len(body)})
    change(entrepot.data / "blobs", "UPDATE Cache SET tag = ? WHERE filename IS NOT NULL", tag)
    entrepot.start()
    answer = client.get(url)
    assert (answer.body == body, answer.cache_status) == (True, "entrepot; hit")
    assert entrepot.counter("blob_rehashed") == 1


def test_a_file_that_shrinks_while_it_is_served_is_continued_from_upstream(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """A transfer whose file the disk loses goes on from the registry; the next one is a miss."""
    client = entrepot.client()
    url, body = add(faults, "shrinks", 24 * MIB)
    store(entrepot, client, url)
    with client.open("GET", url) as stream:
        begun = stream.read(MIB)
        os.truncate(file_of(entrepot, body), 0)
        assert begun + stream.read() == body
    assert " blob_lost " in entrepot.log
    answer = client.get(url)
    assert (answer.body == body, "hit" in answer.cache_status) == (True, False)


def test_damaged_manifests_are_fetched_again(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """A manifest is hashed at every hit: other bytes in its row are a miss and one line."""
    client, image = entrepot.client(), images.image("damaged manifest")
    faults.publish(image, "app", "1")
    url = f"{FAULT}/v2/app/manifests/{image.root.digest}"
    client.manifest(url)
    assert client.manifest(url).cache_status == "entrepot; hit"
    for damaged in (b"", b"{}", bytes([image.root.body[0] ^ 1]) + image.root.body[1:]):
        sql = "UPDATE Cache SET value = ? WHERE key LIKE 'manifest %'"
        change(entrepot.data / "blobs", sql, damaged)
        answer = client.manifest(url)
        assert (answer.body, "fwd=miss" in answer.cache_status) == (image.root.body, True)
        assert client.manifest(url).cache_status == "entrepot; hit"
    assert len(damage_lines(entrepot)) == 3


# Databases

PAGE = 4096


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def spoil_pages(path: Path) -> None:
    """Noise over every page but the first, as a lost block device leaves it."""
    overwrite(path, PAGE, content("noise", path.stat().st_size - PAGE))


DATABASE_DAMAGES: dict[str, Damage] = {
    "header": lambda path: overwrite(path, 0, bytes(100)),
    "cut": lambda path: os.truncate(path, PAGE + 100),
    "empty": lambda path: os.truncate(path, 0),
    "pages": spoil_pages,
    "other tables": lambda path: change(path.parent, "ALTER TABLE Cache RENAME tag TO tagg"),
}


@pytest.mark.parametrize(
    ("damage", "caches"),
    [*((name, ("blobs", "index")) for name in DATABASE_DAMAGES), ("cut", ("blobs",))],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_damaged_database_is_set_aside_at_the_start(
    entrepot: Entrepot,
    faults: FaultServer,
    images: ImageFactory,
    damage: str,
    caches: tuple[str, ...],
) -> None:
    """The proxy starts, says in one line which file it moved where, and fills the cache anew."""
    client, image = entrepot.client(), images.image(f"database {damage}")
    faults.publish(image, "app", "1")
    assert pulls(client, image)
    eventually(lambda: files(entrepot) == len(image.blobs), within=20, what="stored")
    entrepot.terminate()
    for cache in caches:
        DATABASE_DAMAGES[damage](entrepot.data / cache / "cache.db")
    entrepot.start()
    entrepot.await_put_right()
    for cache in caches:
        database = entrepot.data / cache / "cache.db"
        (line,) = (found for found in entrepot.log.splitlines() if f"{cache}/cache.db " in found)
        assert f" database_damaged file={database} reason=" in line
        moved_to = "nowhere" if damage == "empty" else f"{database}.damaged"
        assert f" moved_to={moved_to} outcome=" in line
        assert Path(f"{database}.damaged").exists() == (damage != "empty")
    assert files(entrepot) == 0
    assert pulls(client, image)
    eventually(lambda: files(entrepot) == len(image.blobs), within=20, what="stored again")
    assert "Traceback" not in entrepot.log


def test_without_its_index_what_is_stored_is_given_to_nobody(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """Promise 2: who delivered the bytes is forgotten, so the registry must deliver them again."""
    client = entrepot.client()
    url, body = add(faults, "index lost")
    store(entrepot, client, url)
    entrepot.terminate()
    assert (entrepot.data / "clean").exists()
    DATABASE_DAMAGES["header"](entrepot.data / "index" / "cache.db")
    entrepot.start()
    entrepot.await_put_right()
    assert files(entrepot) == 1
    assert client.head(url).cache_status == "entrepot; fwd=miss; fwd-status=200"
    answer = client.get(url)
    assert (answer.body == body, answer.cache_status) == (True, "entrepot; fwd=miss; stored")
    eventually(lambda: entrepot.counter("blob_stored") == 1, within=20, what="stored again")
    assert client.get(url).cache_status == "entrepot; hit"
    assert files(entrepot) == 1


def files(entrepot: Entrepot) -> int:
    return len(list(entrepot.data.glob("blobs/??/??/*.val")))


@pytest.mark.parametrize("cache", ["blobs", "index"])
def test_a_database_that_is_cut_while_running_stops_no_pull(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory, cache: str
) -> None:
    """Pulls go on without the store, the process lives, one line says what a restart does."""
    client, image = entrepot.client(), images.image(f"cut {cache}")
    faults.publish(image, "app", "1")
    store(entrepot, client, *(f"{FAULT}/v2/app/blobs/{blob.digest}" for blob in image.blobs))
    pid = entrepot.pid
    database = entrepot.data / cache / "cache.db"
    database.with_name("cache.db-wal").write_bytes(b"")
    os.truncate(database, PAGE)
    assert pulls(client, image)
    assert pulls(client, image)
    lines = re.findall(r" store_failed reason=.*", entrepot.log)
    assert len(lines) <= 1
    assert all("a restart sets it aside" in line for line in lines)
    entrepot.restart()
    assert entrepot.pid != pid
    assert pulls(client, image)


def test_a_spoilt_write_ahead_log_costs_at_most_what_was_in_it(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """SQLite passes over a log whose checksums do not fit; rows and files then agree again."""
    client, image = entrepot.client(), images.image("wal")
    faults.publish(image, "app", "1")
    assert pulls(client, image)
    entrepot.kill9()
    for cache in ("blobs", "index"):
        wal = entrepot.data / cache / "cache.db-wal"
        overwrite(wal, 0, content("garbage", max(PAGE, wal.stat().st_size)))
    entrepot.start()
    assert pulls(client, image)
    assert pulls(client, image)
    assert "Traceback" not in entrepot.log


def test_single_damaged_rows_are_forgotten(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Rows that are no text, or name files that cannot be ours, end neither start nor pull."""
    client, image = entrepot.client(), images.image("rows")
    faults.publish(image, "app", "1")
    spoil = (
        "UPDATE Cache SET tag = CAST(x'ff7b' AS TEXT)",
        "UPDATE Cache SET filename = '../../ca/mitmproxy-ca.pem' WHERE filename IS NOT NULL",
        "UPDATE Cache SET key = CAST(x'ff' || key AS TEXT)",
        "UPDATE Cache SET raw = 0",
        "UPDATE Cache SET size = 'much', mode = 4",
    )
    for sql in spoil:
        assert pulls(client, image)
        eventually(lambda: files(entrepot) >= len(image.blobs), within=20, what="stored")
        change(entrepot.data / "blobs", sql)
        assert (sql, pulls(client, image)) == (sql, True)
        entrepot.restart()
    change(entrepot.data / "index", "UPDATE Cache SET value = CAST(x'ff7b' AS TEXT)")
    assert pulls(client, image)
    entrepot.restart()
    assert pulls(client, image)
    assert (entrepot.data / "ca/mitmproxy-ca.pem").exists()
    assert "Traceback" not in entrepot.log


def test_uses_in_the_future_do_not_keep_new_blobs_out(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """A clock that was ahead for a while: what was used then is evicted like anything else."""
    entrepot = start_entrepot(size="3MiB")
    client = entrepot.client()
    old = [add(faults, f"ahead {number}", 900 * KIB) for number in range(3)]
    store(entrepot, client, *(url for url, _ in old))
    change(entrepot.data / "blobs", "UPDATE Cache SET access_time = access_time + 1e9")
    new = [add(faults, f"after {number}", 900 * KIB) for number in range(3)]
    for url, _ in new:
        store(entrepot, client, url)
    assert [client.head(url).cache_status for url, _ in new[1:]] == ["entrepot; hit"] * 2


# What is said at the start


def refused(folder: Path, *prefix: str) -> str:
    """The one line of a start that is refused with status 1."""
    listen = f"127.0.0.1:{free_port()}"
    serve = [PYTHON, "-m", "entrepot.cli", "serve", "--listen", listen, "--data", str(folder)]
    ended = subprocess.run(
        [*prefix, *serve], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"entrepot: data folder {str(folder)!r}: ")
    assert "Errno" not in line
    assert "Error" not in line
    return line


def test_a_full_disk_is_a_clear_refusal(folder: Path) -> None:
    """Without room for its databases the proxy does not start."""
    need_root()
    with small_disk(folder / "disk", MIB) as disk:
        (disk / "filler").write_bytes(bytes(MIB - 3 * PAGE))
        assert "the disk is full" in refused(disk / "data")


def test_a_read_only_folder_is_a_clear_refusal(folder: Path) -> None:
    """It names the file that cannot be written and what is wanted instead."""
    need_root()
    with small_disk(folder / "disk", MIB) as disk:
        subprocess.run([program("mount"), "-o", "remount,ro", disk], check=True)
        line = refused(disk / "data")
    assert "the file system is read-only: " in line
    assert line.endswith("want a folder that can be written")


def test_a_folder_of_somebody_else_is_a_clear_refusal(folder: Path) -> None:
    """The same where the permission is missing: root without its powers stands for any user."""
    need_root()
    (folder / "theirs").mkdir(mode=0o500)
    os.chown(folder / "theirs", 12345, 12345)
    powerless = "-dac_override,-dac_read_search,-fowner,-chown"
    line = refused(
        folder / "theirs" / "data", program("setpriv"), f"--bounding-set={powerless}", "--"
    )
    assert "no permission: " in line
    assert line.endswith("want a folder of the user who runs entrepot")


def test_a_folder_of_a_newer_version_is_a_clear_refusal(entrepot: Entrepot) -> None:
    """Nothing in it is touched, and the line says what to do."""
    entrepot.terminate()
    (entrepot.data / "format").write_text("2\n")
    before = {path: path.read_bytes() for path in entrepot.data.rglob("*") if path.is_file()}
    line = refused(entrepot.data)
    assert "its format is '2', this version reads '1'" in line
    assert before == {path: path.read_bytes() for path in before}
    (entrepot.data / "format").write_bytes(b"\xff\xfe")
    assert "its format is" in refused(entrepot.data)
    (entrepot.data / "format").write_bytes(b"")  # what a full disk leaves at the first start
    entrepot.start()


def test_a_database_that_another_process_holds_is_a_clear_refusal(entrepot: Entrepot) -> None:
    """It is said within seconds, and the database is not taken for damaged."""
    entrepot.terminate()
    database = entrepot.data / "index" / "cache.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        assert "another process holds the database" in refused(entrepot.data)
    entrepot.start()
    assert "database_damaged" not in entrepot.log
