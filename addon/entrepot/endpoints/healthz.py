"""``/healthz``: that the proxy runs, what it has counted, which upstreams are in trouble."""

import json
from collections.abc import Mapping, Sequence


def state(
    counters: Mapping[str, int],
    upstreams: Mapping[str, object],
    untrusting_clients: Sequence[Mapping[str, object]] = (),
) -> bytes:
    """The page, in JSON.

    ``counters`` are the numbers of events since the start (``entrepot.events``); ``upstreams``
    tells of each registry that is away or limits pulls; ``untrusting_clients`` are those that
    refused our certificate (:mod:`untrusting_clients`).
    """
    document = {
        "status": "ok",
        "counters": dict(sorted(counters.items())),
        "upstreams": dict(sorted(upstreams.items())),
        "untrusting_clients": list(untrusting_clients),
    }
    return json.dumps(document).encode() + b"\n"
