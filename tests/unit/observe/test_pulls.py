"""Which requests are one pull."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import RequestRecord
from unit.observe.world import BLOB, NOON, TAG, World

HEAD = replace(
    TAG, method="HEAD", sent=0, outcome=Outcome.MISS, answered="fwd=miss; fwd-status=200"
)
INDEX = replace(TAG, kind="index", reference="sha256:" + "1" * 64)
MANIFEST = replace(TAG, reference="sha256:" + "2" * 64)
OTHER = replace(TAG, reference="sha256:" + "3" * 64)


def pulls_of(world: World, records: Sequence[RequestRecord]) -> list[int]:
    """How many requests each pull has, when they come a second after each other."""
    world.write(*[replace(record, at=NOON + n) for n, record in enumerate(records)])
    return [pull.requests for pull in reversed(world.reader.pulls())]


@pytest.mark.parametrize(
    ("records", "pulls"),
    [
        ([HEAD, INDEX, MANIFEST, BLOB, BLOB], [5]),
        ([TAG, BLOB, BLOB], [3]),
        ([HEAD, TAG, BLOB, HEAD, TAG, BLOB], [3, 3]),
        ([HEAD, HEAD, HEAD], [3]),
        ([HEAD, replace(HEAD, reference="4")], [1, 1]),
        ([MANIFEST, BLOB, OTHER, BLOB], [2, 2]),
        ([INDEX, MANIFEST, BLOB, OTHER, BLOB], [5]),
        ([TAG, replace(TAG, client="10.0.0.8"), BLOB], [2, 1]),
        ([TAG, replace(TAG, repository="library/redis"), BLOB], [2, 1]),
        ([replace(TAG, status=401), TAG, BLOB], [2]),
        ([BLOB], []),
        ([replace(TAG, kind="ping", repository="")], []),
        ([replace(TAG, method="PUT")], []),
    ],
)
def test_a_pull_is_what_a_client_asks_for_one_image(
    world: World, records: Sequence[RequestRecord], pulls: list[int]
) -> None:
    """Docker, containerd and podman each ask in their own order."""
    assert pulls_of(world, records) == pulls


def test_a_pull_ends_after_five_minutes_of_rest(world: World) -> None:
    """A blob that takes long is no rest, though it is recorded when it has come."""
    long = replace(BLOB, at=NOON + 1, total_ms=400_000)
    world.write(TAG, long, replace(BLOB, at=NOON + 600))
    world.write(replace(TAG, at=NOON + 1200))
    first, second = reversed(world.reader.pulls())
    assert first.requests == 3
    assert first.ended == pytest.approx(NOON + 600.009)
    assert (second.began, second.requests) == (NOON + 1200, 1)


def test_a_pull_adds_up(world: World) -> None:
    """Bytes, failures, and what Docker Hub would have counted: the manifest, not HEAD and index."""
    missed = replace(BLOB, outcome=Outcome.MISS, from_disk=0, from_upstream=1000)
    cut = replace(BLOB, cut="the client has left", sent=5)
    world.write(HEAD, INDEX, MANIFEST, BLOB, missed, cut)
    (pull,) = world.reader.pulls()
    assert (pull.client, pull.registry, pull.repository, pull.reference) == (
        "10.0.0.9",
        "docker.io",
        "library/alpine",
        "3",
    )
    assert (pull.requests, pull.failed) == (6, 1)
    assert (pull.sent, pull.from_upstream) == (2025, 1000)
    assert (pull.hub_pulls, pull.hub_pulls_saved) == (1, 1)
    assert {stored.pull for stored in world.reader.requests()} == {pull.number}
    assert world.reader.totals()["docker.io", Outcome.MISS].pulls == 1
