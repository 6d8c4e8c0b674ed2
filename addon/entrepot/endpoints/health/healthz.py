"""``/livez``, ``/readyz`` and ``/healthz``: that the proxy runs, is ready, and how all does.

What each field means is in ``docs/operations.md``, as JSON Schema in ``docs/healthz.schema.json``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice

from entrepot.endpoints.health.readiness import Problem
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import UpstreamState

TROUBLE_SECONDS = 3600.0
"""How long after it was last asked a host in trouble makes the whole ``degraded``: one that nobody
wants any more is nobody's trouble."""
_MOST_NAMED = 3


def live() -> bytes:
    """The page of liveness; that it is answered is all that it says."""
    return _json({"status": "ok"})


def ready(problems: Iterable[Problem]) -> bytes:
    """The page of readiness, with what is in its way."""
    reasons = [asdict(problem) for problem in problems]
    return _json({"status": "not ready" if reasons else "ready", "reasons": reasons})


def state(
    counters: Mapping[str, int],
    upstreams: Mapping[Origin, UpstreamState],
    problems: Iterable[Problem],
    untrusting_clients: Sequence[Mapping[str, object]] = (),
    authority: Mapping[str, object] | None = None,
    *,
    takes_pulls: bool,
    now: float,
) -> bytes:
    """The page for monitors.

    ``counters`` are the numbers of events since the start (``entrepot.events``), ``problems`` those
    of readiness, ``untrusting_clients`` those that refused our certificate
    (:mod:`untrusting_clients`), ``authority`` says how it stands with the authority; ``now`` is the
    time of day.
    """
    reasons = [*problems, *upstream_problems(upstreams, now)]
    status = "failing" if not takes_pulls else "degraded" if reasons else "ok"
    return _json(
        {
            "status": status,
            "reasons": [asdict(reason) for reason in reasons],
            "counters": dict(sorted(counters.items())),
            "upstreams": {str(origin): asdict(one) for origin, one in upstreams.items()},
            "untrusting_clients": list(untrusting_clients),
            "authority": dict(authority or {}),
        }
    )


def upstream_problems(upstreams: Mapping[Origin, UpstreamState], now: float) -> list[Problem]:
    """That hosts which were asked lately do not answer as they should."""
    bad = {
        origin: one.state
        for origin, one in upstreams.items()
        if not one.is_ok and one.last_asked is not None and now < one.last_asked + TROUBLE_SECONDS
    }
    if not bad:
        return []
    named = [f"{origin} ({what})" for origin, what in islice(bad.items(), _MOST_NAMED)]
    more = [f"{len(bad) - _MOST_NAMED} more"] if len(bad) > _MOST_NAMED else []
    return [Problem("upstreams", ", ".join([*named, *more]))]


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"
