"""Databases damaged at rest: pulls go on, what is lost is fetched again, and one line says so.

They are damaged as disks, kills and other programs do it, below a running proxy and between two
starts.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attack.damage import FAULT, Damage, add, change, content, files, pulls, store
from rig.faults import FaultServer
from rig.images import KIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.wire


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
    eventually(lambda: files(entrepot) == len(image.blobs), what="stored")
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
    eventually(lambda: files(entrepot) == len(image.blobs), what="stored again")
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
    eventually(lambda: entrepot.counter("blob_stored") == 1, what="stored again")
    assert client.get(url).cache_status == "entrepot; hit"
    assert files(entrepot) == 1


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
        eventually(lambda: files(entrepot) >= len(image.blobs), what="stored")
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
