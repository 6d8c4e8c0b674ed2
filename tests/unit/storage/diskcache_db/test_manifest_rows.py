"""What a manifest lists is kept beside it."""

import json
import sqlite3
from contextlib import closing

from entrepot.protocol.identifiers import Digest
from entrepot.storage.store import Store
from unit.storage.world import APP, DIGEST, LIMIT


def manifest_tag(store: Store, **change: str | None) -> dict[str, object]:
    """What the manifest's row says beside its bytes; changed first, None for not there."""
    path = store.folder / "blobs" / "cache.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        sql = "SELECT tag FROM Cache WHERE key LIKE 'manifest %'"
        tag = {**json.loads(connection.execute(sql).fetchone()[0]), **change}
        tag = {name: value for name, value in tag.items() if value is not None}
        sql = "UPDATE Cache SET tag = ? WHERE key LIKE 'manifest %'"
        connection.execute(sql, (json.dumps(tag),))
        return tag


def reads(store: Store, manifest: Digest) -> frozenset[Digest]:
    """What a manifest lists for a store that was opened just now."""
    with closing(Store(store.folder, LIMIT)) as other:
        found = other.manifests.find(APP, manifest)
        assert found is not None
        return found.listed()


def test_what_a_manifest_lists_is_read_from_beside_it(store: Store) -> None:
    """Not from its JSON, which is up to 4 MiB, at every hit; an earlier version's row learns it."""
    other = Digest.of(b"other")
    body = b'{"config": {"digest": "%b"}}' % str(DIGEST).encode()
    manifest = Digest.of(body)
    store.manifests.put(APP, manifest, body, "application/json", given_to=None)
    store.close()
    assert reads(store, manifest) == {DIGEST}
    manifest_tag(store, listed=other.hex)
    assert reads(store, manifest) == {other}
    for damaged in (None, "", "x"):
        manifest_tag(store, listed=damaged)
        assert reads(store, manifest) == (frozenset() if damaged == "" else {DIGEST})
        assert manifest_tag(store)["listed"] == ("" if damaged == "" else DIGEST.hex)
