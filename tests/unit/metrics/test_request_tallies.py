"""Requests in numbers: from records as they come."""

from dataclasses import replace

import pytest

from entrepot.metrics import request_families as families
from entrepot.metrics.family import Family, Value
from entrepot.metrics.request_tallies import MOST_REGISTRIES, RequestTallies, code, reason
from entrepot.observe.outcome import Outcome, understood
from entrepot.observe.request_record import RequestRecord
from entrepot.protocol.cache_status import REASONS
from unit.metrics.records import BLOB

TAG = replace(BLOB, kind="manifest", reference="3", sent=10, from_disk=10)
MISS = replace(
    BLOB, answered="fwd=miss; stored", outcome=Outcome.MISS, from_disk=0, from_upstream=1000
)


def counted(*records: RequestRecord) -> dict[Family, dict[tuple[str, ...], Value]]:
    tallies = RequestTallies()
    tallies.write(records)
    return {family: dict(children) for family, children in tallies.samples()}


def test_hits_and_misses_as_distribution_counts_them() -> None:
    """A HEAD is none of its requests, an index is a manifest."""
    found = counted(BLOB, BLOB, MISS, TAG, replace(TAG, method="HEAD"), replace(TAG, kind="index"))
    assert found[families.PROXY_REQUESTS] == {("blob",): 3, ("manifest",): 2}
    assert found[families.PROXY_HITS] == {("blob",): 2, ("manifest",): 2}
    assert found[families.PROXY_MISSES] == {("blob",): 1, ("manifest",): 0}
    assert found[families.PROXY_PULLED] == {("blob",): 1000, ("manifest",): 0}
    assert found[families.PROXY_PUSHED] == {("blob",): 3000, ("manifest",): 20}
    assert found[families.CONTENT] == {("docker.io",): 6}
    assert found[families.HITS] == {("docker.io",): 5}


def test_a_registry_that_never_hit_has_a_0() -> None:
    """Else its hit ratio would be nothing, instead of 0."""
    assert counted(MISS)[families.HITS] == {("docker.io",): 0}


def test_bytes_by_where_they_were() -> None:
    """A fetch brings more than its client took: what was sent is no more than was sent."""
    resumed = replace(MISS, sent=1000, from_disk=400, from_upstream=600)
    left = replace(MISS, sent=100, from_upstream=5000)
    ping = replace(BLOB, kind="ping", answered="hit; detail=ping", sent=2, from_disk=0)
    found = counted(resumed, left, ping)
    assert found[families.SENT] == {
        ("docker.io", "disk"): 400,
        ("docker.io", "upstream"): 700,
        ("docker.io", "memory"): 2,
    }
    assert found[families.RECEIVED] == {("docker.io",): 5600}


def test_docker_hubs_pulls() -> None:
    """Those that it would count: GETs of manifests."""
    missed = replace(TAG, outcome=Outcome.MISS, answered="fwd=miss; stored")
    others = [replace(TAG, method="HEAD"), replace(TAG, registry="ghcr.io"), BLOB]
    found = counted(TAG, TAG, missed, *others)
    assert found[families.HUB_PULLS] == {("saved",): 2, ("spent",): 1}


def test_registries_beyond_the_first_200_are_others() -> None:
    """However many a client names, there are no more series; and nobody is named who asks."""
    many = [replace(BLOB, registry=f"r{number}.example") for number in range(2000)]
    found = counted(replace(BLOB, registry=""), *many)
    requests = found[families.REQUESTS]
    assert len(requests) == MOST_REGISTRIES + 1
    assert requests["none", "blob", "hit"] == 1
    assert requests["others", "blob", "hit"] == 2001 - MOST_REGISTRIES
    assert sum(value for value in requests.values() if isinstance(value, int | float)) == 2001
    assert "10.0.0.9" not in str(found)


def test_each_time_to_the_first_byte_is_in_its_bucket() -> None:
    found = counted(BLOB, replace(BLOB, first_byte_ms=2), replace(BLOB, first_byte_ms=31_000))
    ((counts, total),) = found[families.FIRST_BYTE].values()  # type: ignore[misc]
    assert counts == (1, 1, *(0,) * 11, 1)
    assert total == pytest.approx(31.005)


@pytest.mark.parametrize(
    ("outcome", "answered", "status", "why"),
    [
        (Outcome.HIT, "hit", 200, "held"),
        (Outcome.HIT, "hit; detail=stale", 200, "stale"),
        (Outcome.MISS, "fwd=miss; stored", 200, "fetched"),
        (Outcome.MISS, "fwd=miss; detail=unstored", 200, "unstored"),
        (Outcome.MISS, "fwd=miss; fwd-status=404", 404, "answered"),
        (Outcome.MISS, "fwd=miss", 400, "unanswered"),
        (Outcome.COLLAPSED, "fwd=miss; collapsed", 200, "collapsed"),
        (Outcome.BYPASS, "fwd=bypass; detail=token", 200, "token"),
        (Outcome.BYPASS, "fwd=bypass; detail=made-up", 200, "other"),
        (Outcome.ERROR, "detail=error", 403, "refused"),
        (Outcome.ERROR, "fwd=miss", 502, "failed"),
        (Outcome.TUNNEL, "", 200, "tunnel"),
    ],
)
def test_reasons(outcome: Outcome, answered: str, status: int, why: str) -> None:
    assert reason(replace(BLOB, outcome=outcome, answered=answered, status=status)) == why


@pytest.mark.parametrize("answered", sorted(REASONS))
def test_every_value_of_cache_status_has_a_reason(answered: str) -> None:
    outcome = understood(answered).outcome
    assert reason(replace(BLOB, answered=answered, outcome=outcome)) != "other" or not answered


def test_codes_are_few() -> None:
    assert [code(status) for status in (200, 0, 418, 599, 404, 999)] == [
        "200",
        "none",
        "4xx",
        "5xx",
        "404",
        "other",
    ]
    assert len({code(status) for status in range(1000)}) < 40
