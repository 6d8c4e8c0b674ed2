"""Manifests: exact bytes, each registry's own, within the limit."""

import pickle
from contextlib import closing
from pathlib import Path

import pytest
from diskcache.core import MODE_PICKLE

from entrepot.protocol.identifiers import Digest
from entrepot.storage.store import Store
from unit.storage.world import APP, DIGEST, SIBLING, STRANGER, Clock, write


def test_a_manifest_comes_back_as_it_was(store: Store, clock: Clock) -> None:
    """Exact bytes, type and time."""
    body = b'{"config": {"digest": "%b"}}  \n' % str(DIGEST).encode()
    digest = Digest.of(body)
    assert store.manifests.put(APP, digest, body, "application/json", given_to=None)
    found = store.manifests.find(APP, digest)
    assert found is not None
    assert (found.content, found.media_type, found.stored) == (body, "application/json", clock.now)
    assert found.linked
    assert found.listed() == {DIGEST}


def test_a_manifest_is_one_registrys_own(store: Store) -> None:
    """Another registry's manifest of the same digest is not given, its type may differ."""
    store.manifests.put(APP, DIGEST, b"{}", "application/json", given_to=None)
    assert store.manifests.find(STRANGER, DIGEST) is None


def test_a_manifest_of_another_repository_needs_a_confirmation(store: Store) -> None:
    """The bytes are there, the link is not."""
    digest = Digest.of(b"{}")
    store.manifests.put(APP, digest, b"{}", "application/json", given_to=None)
    found = store.manifests.find(SIBLING, digest)
    assert found is not None
    assert not found.linked


def test_a_manifest_that_does_not_fit_is_not_kept(folder: Path) -> None:
    """The limit holds for manifests too."""
    with closing(Store(folder, 100_000)) as store:
        assert not store.manifests.put(
            APP, DIGEST, bytes(100_001), "application/json", given_to=None
        )
        assert store.manifests.find(APP, DIGEST) is None


def test_a_pickled_row_is_no_manifest(store: Store, folder: Path, tmp_path: Path) -> None:
    """A manifest that somebody replaced by a pickle costs the hit, and runs nothing."""
    store.manifests.put(APP, Digest.of(b"{}"), b"{}", "application/json", given_to=None)
    trace = tmp_path / "trace"
    bomb = b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%b\ntRtR." % str(trace).encode()
    with pytest.raises(AttributeError):
        pickle.loads(bomb.replace(b"touch", b"touchy"))  # noqa: S301 it is a pickle
    write(folder / "blobs", "UPDATE Cache SET mode = ?, value = ?", MODE_PICKLE, bomb)
    assert store.manifests.find(APP, Digest.of(b"{}")) is None
    assert not trace.exists()
