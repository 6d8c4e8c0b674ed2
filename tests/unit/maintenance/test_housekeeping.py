"""What the store needs while it runs is done beside the pulls, and ends with the proxy."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.maintenance.housekeeping import Housekeeping
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from rig.process import eventually

APP = Repository(Origin("https", "registry.example.test", 443), "team/app")
DIGEST = Digest.of(b"layer")
SECONDS = 0.05


@contextmanager
def running(folder: Path, clock: list[float], events: Events) -> Iterator[Context]:
    """A store that is looked after each fraction of a second."""
    store = Store(folder, 10**7, clock=lambda: clock[0], events=events)
    context = Context.make(
        store,
        HttpClient(Roots(None, None)),
        Access(b"secret"),
        events,
        time.monotonic,
        answer_seconds=1,
    )
    housekeeping = Housekeeping(context.store_thread, events, SECONDS)
    housekeeping.start()
    with closing(store), closing(context):
        try:
            yield context
        finally:
            housekeeping.stop()


def test_what_has_expired_goes_while_it_runs(tmp_path: Path) -> None:
    """Not at the next start only."""
    clock = [time.time()]
    with running(tmp_path / "data", clock, Events()) as context:
        store = context.store
        context.store_thread.run_from_thread(
            lambda: store.manifests.put(APP, DIGEST, b"layer", "a/b", given_to=None)
        )
        assert _rows(store.folder) == 2
        clock[0] += 91 * 86400
        eventually(lambda: not _rows(store.folder), what="expired rows gone")


def _rows(folder: Path) -> int:
    """How many rows of the index know of the object, expired or not."""
    with closing(sqlite3.connect(folder / "index" / "cache.db")) as database:
        found = database.execute("SELECT COUNT(*) FROM Cache WHERE key LIKE ?", (f"%{DIGEST}%",))
        return int(found.fetchone()[0])


def test_after_a_kill_it_is_put_right(tmp_path: Path) -> None:
    """While it runs, and one line says so; then the next end is in order."""
    folder, clock, events = tmp_path / "data", [time.time()], Events()
    Store(folder, 10**7).close()
    (folder / "clean").unlink()
    orphan = folder / "blobs" / "ab" / "cd" / f"{'0' * 28}.val"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"renamed, but no row")
    with running(folder, clock, events):
        eventually(lambda: events.counts["store_recovered"], what="put right")
        assert not orphan.exists()
    assert (folder / "clean").exists()


def test_an_end_in_the_middle_of_it_is_none_in_order(tmp_path: Path) -> None:
    """The next start goes on from the beginning."""
    folder, events = tmp_path / "data", Events()
    with closing(Store(folder, 10**7)) as store:
        store.manifests.put(APP, DIGEST, b"layer", "a/b", given_to=None)
    (folder / "clean").unlink()
    held, at_it = threading.Event(), threading.Event()

    def hold() -> None:
        at_it.set()
        held.wait(20)

    store = Store(folder, 10**7, events=events)
    context = Context.make(
        store, HttpClient(Roots(None, None)), Access(b"secret"), events, time.monotonic
    )
    housekeeping = Housekeeping(context.store_thread, events)
    with closing(store), closing(context):
        waiting = threading.Thread(target=lambda: context.store_thread.run_from_thread(hold))
        waiting.start()
        at_it.wait(20)
        housekeeping.start()
        housekeeping.stop()
        held.set()
        waiting.join()
    assert events.counts["store_recovered"] == 0
    assert not (folder / "clean").exists()
