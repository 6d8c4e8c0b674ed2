"""Hints on what a status shows: what an administrator may want to do about it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from entrepot.config.units import size_text

_SOON = timedelta(days=30)
_FEW = 10
"""A tenth of the pulls of a rate limit."""


def hints(told: dict[str, Any], now: datetime) -> Iterator[str]:
    """Say them, of the status of a running proxy."""
    expires = datetime.fromisoformat(told["authority"]["expires"])
    if expires < now + _SOON:
        yield f"the authority expires on {expires:%Y-%m-%d}: `entrepot ca rotate`"
    usage = told["usage"]
    if usage is not None:
        attainable = usage["held"] + usage["free"] - usage["reserve"]
        if usage["limit"] > attainable:
            yield (
                f"the disk has room for {size_text(max(0, attainable))}, less than the limit"
                f" of {size_text(usage['limit'])}: lower --size, or make room"
            )
    clients = dict.fromkeys(one["client"] for one in told["untrusting_clients"])
    if clients:
        yield (
            f"{', '.join(clients)}: pulls go past the cache until the CA is installed there"
            " (`entrepot ca show`, ca/install.sh)"
        )
    for host, one in told["upstreams"].items():
        limit = one["ratelimit"]
        if limit is None or not limit["limit"] or limit["remaining"] is None:
            continue
        if limit["remaining"] * _FEW <= limit["limit"]:
            yield (
                f"{host} lets {limit['remaining']} of {limit['limit']} pulls more through:"
                " an account of the proxy's own has more (docs/accounts.md)"
            )
