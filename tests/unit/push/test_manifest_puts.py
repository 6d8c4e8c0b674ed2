"""Manifests that clients put: what is kept of them, and what is not."""

import pytest

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest
from unit.push.world import (
    APP,
    DIGEST,
    MANIFEST,
    MANIFEST_TYPE,
    Start,
    World,
    in_loop,
)


def put(world: World, reference: str, *answer: tuple[str, str], **changed: object) -> None:
    """Put a manifest."""
    content = changed.get("content", MANIFEST)
    kind = str(changed.get("media_type", MANIFEST_TYPE))
    status = changed.get("status", 201)
    assert isinstance(content, bytes)
    assert isinstance(status, int)
    fields: tuple[tuple[str, str], ...] = (("Content-Type", kind),)
    if coding := changed.get("coding"):
        fields = (*fields, ("Content-Encoding", str(coding)))
    path = f"/v2/app/manifests/{reference}"
    world.ask("PUT", path, content, status, *answer, fields=fields)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@in_loop
async def test_a_manifest_by_digest(start: Start, algorithm: str) -> None:
    """Its exact bytes are kept under that digest."""
    digest = Digest.of(MANIFEST, algorithm)
    async with start() as world:
        put(world, str(digest))
        await world.settled()
        found = world.store.manifests.find(APP, digest)
        assert found is not None
        assert (found.content, found.media_type, found.linked) == (MANIFEST, MANIFEST_TYPE, True)
        assert world.waiting() == 0


@in_loop
async def test_a_manifest_by_tag(start: Start) -> None:
    """The tag is known then, as if somebody had asked for that type, and open to nobody."""
    digest = Digest.of(MANIFEST)
    async with start() as world:
        put(world, "1", ("Docker-Content-Digest", str(digest)))
        await world.settled()
        entries = world.store.tags.get(APP, "1")
        assert {accept: entry.digest for accept, entry in entries.items()} == {
            MANIFEST_TYPE: str(digest)
        }
        assert world.store.manifests.find(APP, digest) is not None
        assert not world.store.decisions.was_given(APP, digest, ANYONE)


@pytest.mark.parametrize(
    ("reference", "answer", "changed"),
    [
        ("1", (), {"status": 202}),
        ("1", (), {"status": 400}),
        ("1", (), {"coding": "gzip"}),
        ("1", (), {"media_type": "application/json"}),
        ("1", (), {"media_type": "application/vnd.oci.image.index.v1+json"}),
        ("1", (), {"media_type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}),
        ("1", (), {"content": b"[]"}),
        ("1", (), {"content": b"{"}),
        ("1", (), {"content": b"[" * 100_000}),
        ("1", (), {"content": MANIFEST + b" " * 4 * 1024 * 1024}),
        ("1", (("Docker-Content-Digest", str(DIGEST)),), {}),
        (str(DIGEST), (), {}),
        (str(Digest.of(MANIFEST)), (("Docker-Content-Digest", str(DIGEST)),), {}),
    ],
)
@in_loop
async def test_an_odd_manifest_is_not_kept(
    start: Start,
    reference: str,
    answer: tuple[tuple[str, str], ...],
    changed: dict[str, object],
) -> None:
    """Nor one that the registry did not take in as what it is."""
    async with start() as world:
        put(world, reference, *answer, **changed)
        await world.settled()
        content = changed.get("content", MANIFEST)
        assert isinstance(content, bytes)
        for digest in (Digest.of(content), DIGEST):
            assert world.store.manifests.find(APP, digest) is None
        assert world.store.tags.get(APP, "1") == {}
        assert world.waiting() == 0


@in_loop
async def test_manifests_that_do_not_end(start: Start) -> None:
    """Promise 6: the memory for manifests under way is bounded, and comes back."""
    async with start() as world:
        bodies = world.pushes._manifests._bodies  # noqa: SLF001 it shows nowhere else
        watched = [world.watch("PUT", f"/v2/app/manifests/{n}") for n in range(50)]
        for one in watched:
            assert one is not None
            one.add(bytes(1024 * 1024))
        assert bodies.size == 16 * 1024 * 1024
        put(world, str(Digest.of(MANIFEST)))
        await world.settled()
        assert world.store.manifests.find(APP, Digest.of(MANIFEST)) is not None
        for one in watched:
            assert one is not None
            one.broken()
        assert bodies.size == 0
