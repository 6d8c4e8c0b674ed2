"""Upstream's bytes of a blob, asked for again on a download's threads, as one client."""

from functools import partial

from entrepot.events.counters import Counter
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.header_filters import content_fields, without
from entrepot.protocol.messages import Fields, Request
from entrepot.protocol.network_reach import Reach
from entrepot.upstream.context import Context


class BlobSource:
    """Asks upstream again for a download, on the download's threads, as one client."""

    def __init__(self, context: Context, request: Request) -> None:
        self._context = context
        self._request = request
        self._target = Target(request.origin, request.target)

    def reopen(self, offset: int) -> Reply:
        """The blob from an offset on, after a connection broke."""
        self._context.events.count(Counter.RESUMED_FETCHES)
        return self._ask(range_from(offset))

    def part(self, nearest: Reply | None, start: int, stop: int) -> Reply:
        """The bytes from ``start`` up to ``stop``, from where ``nearest`` came, if that will do."""
        self._context.events.count(Counter.PARALLEL_FETCHES)
        wanted = ("Range", f"bytes={start}-{stop - 1}")
        if nearest is None:
            return self._ask((wanted,))
        fields = (*without(nearest.asked, ("range",)), wanted)
        found = self._get(nearest.target, nearest.reach, fields)
        same = nearest.target == self._target and self._request.account is None
        if found.status == 206 or same:
            return found
        found.close()  # a signed address or a token ends; the registry gives a new one
        return self._ask((wanted,))

    def _ask(self, extra: Fields) -> Reply:
        gateway, request = self._context.gateway, self._request
        get = partial(self._get, self._target, gateway.reach_of(request))
        return gateway.account_auth.send(request, (*content_fields(request), *extra), get)

    def _get(self, target: Target, reach: Reach, fields: Fields) -> Reply:
        return self._context.gateway.upstream.send(
            "GET", target, fields, SendOptions(Follow.ANY, reach=reach, downgrade=True)
        )


def range_from(offset: int) -> Fields:
    """Ask for what follows ``offset``, and one byte before it.

    The overlap keeps the answer a 206 where the file is whole already: asking from its end
    would be a 416, which says nothing of the bytes.
    """
    return (("Range", f"bytes={offset - 1}-"),) if offset > 0 else ()
