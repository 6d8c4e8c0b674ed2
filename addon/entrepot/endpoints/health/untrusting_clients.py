"""The list of clients that do not trust the CA, as ``/healthz`` shows it."""

from collections.abc import Iterable
from datetime import UTC, datetime

from entrepot.upstream.discovery.untrusting_clients import UntrustingClient


def described(clients: Iterable[UntrustingClient], wall: float) -> list[dict[str, object]]:
    """The clients in the terms of JSON; ``wall`` is the time of day, in seconds since 1970."""
    return [_described(one, wall) for one in clients]


def _described(one: UntrustingClient, wall: float) -> dict[str, object]:
    return {
        "client": one.address,
        "fingerprint": one.fingerprint.digest,
        "library": one.fingerprint.library,
        "hosts": list(one.hosts),
        "since": _time(wall - one.since),
        "last": _time(wall - one.last),
        "refused": one.refused,
        "tunnelled": one.tunnelled,
        "others_trust": one.others_trust,
    }


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")
