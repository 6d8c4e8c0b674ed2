"""Hints: what a status gives cause for, and nothing where all is well."""

from datetime import UTC, datetime
from typing import Any

import pytest

from entrepot.cli.running.hints import hints

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
GIB = 2**30
WELL: dict[str, Any] = {
    "authority": {"expires": "2031-11-27T00:00:00Z"},
    "usage": {"held": 10 * GIB, "limit": 20 * GIB, "free": 50 * GIB, "reserve": GIB},
    "untrusting_clients": [],
    "upstreams": {"https://ghcr.io": {"ratelimit": None}},
}


def limit(remaining: int | None) -> dict[str, Any]:
    return {"https://hub": {"ratelimit": {"limit": 100, "remaining": remaining}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"usage": None}, None),
        ({"upstreams": limit(50)}, None),
        ({"upstreams": limit(None)}, None),
        ({"upstreams": limit(10)}, "10 of 100 pulls"),
        ({"authority": {"expires": "2026-12-20T00:00:00Z"}}, "expires on 2026-12-20"),
        (
            {"usage": {"held": 10 * GIB, "limit": 90 * GIB, "free": 50 * GIB, "reserve": GIB}},
            "room for 59.0GiB, less than the limit of 90.0GiB",
        ),
        (
            {"untrusting_clients": [{"client": "10.0.0.1"}, {"client": "10.0.0.1"}]},
            "10.0.0.1: pulls go past the cache",
        ),
    ],
)
def test_hints(change: dict[str, Any], said: str | None) -> None:
    found = list(hints({**WELL, **change}, NOW))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
