"""What the pages for monitors say of what they are given."""

import json

import pytest

from entrepot.endpoints.health import healthz
from entrepot.endpoints.health.readiness import Problem
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import HostOutcomes, UpstreamState, upstream_states

NOW = 1e9
FULL = Problem("disk_full", "the disk is full")


def upstreams(ago: float, **statuses: int) -> dict[Origin, UpstreamState]:
    """Hosts that answered so, so many seconds ago."""
    outcomes = HostOutcomes(lambda: NOW - ago)
    for name, status in statuses.items():
        outcomes.answered(Origin("https", name, 443), status, 0.01)
    return upstream_states(outcomes.known(), {}, {})


def told(
    known: dict[Origin, UpstreamState], *problems: Problem, takes_pulls: bool = True
) -> tuple[str, list[dict[str, str]]]:
    page = healthz.state({}, known, problems, takes_pulls=takes_pulls, now=NOW)
    document = json.loads(page)
    return document["status"], document["reasons"]


def test_all_is_well() -> None:
    assert told(upstreams(1, a=200, b=401)) == ("ok", [])
    assert json.loads(healthz.ready(())) == {"status": "ready", "reasons": []}


def test_one_host_in_trouble_degrades_it() -> None:
    """The reason names it, and how."""
    reason = {"code": "upstreams", "reason": "https://b (failing), https://c (limited)"}
    assert told(upstreams(1, a=200, b=503, c=429)) == ("degraded", [reason])


def test_many_hosts_in_trouble_are_not_all_named() -> None:
    _, (reason,) = told(upstreams(1, a=503, b=503, c=503, d=503, e=503))
    assert reason["reason"].endswith("https://c (failing), 2 more")


@pytest.mark.parametrize(("ago", "status"), [(3599, "degraded"), (3600, "ok")])
def test_what_nobody_asks_any_more_is_no_trouble(ago: float, status: str) -> None:
    """Though it is still told of."""
    assert told(upstreams(ago, a=503))[0] == status


def test_a_store_in_trouble_degrades_it() -> None:
    """Pulls go on uncached, so it fails nobody; but it is not ready."""
    reason = {"code": "disk_full", "reason": "the disk is full"}
    assert told({}, FULL) == ("degraded", [reason])
    assert json.loads(healthz.ready((FULL,))) == {"status": "not ready", "reasons": [reason]}


def test_it_fails_where_it_takes_no_pulls() -> None:
    assert told({}, Problem("draining", "it is stopping"), takes_pulls=False)[0] == "failing"
