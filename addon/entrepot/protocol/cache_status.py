"""``Cache-Status`` (RFC 9211): every value that this cache gives, and what it tells who reads it.

``hit`` was answered here; ``fwd=miss`` needed the registry, ``fwd=bypass`` is its own answer, which
is asked for each time; ``detail`` is ours. The table for the administrator is made from this one
(``markdown_table``).
"""

from typing import TypeAlias

CacheStatus: TypeAlias = tuple[str, str]
"""The header field: its name, and one of the values below."""

FIELD = "Cache-Status"
_CACHE = "entrepot"
_MEANINGS: dict[str, str] = {}
"""What each value means, in the order of the table."""
REASONS: dict[str, str] = {"": "answered by the proxy itself"}
"""By the parameters of a value, why that was the answer: for records of requests (``observe``)."""


def _status(parameters: str, meaning: str, reason: str) -> CacheStatus:
    value = f"{_CACHE}; {parameters}"
    _MEANINGS[value] = meaning
    REASONS[parameters] = reason
    return FIELD, value


HIT = _status(
    "hit",
    "from the disk; the registry allowed it to this client",
    "held, and the registry allowed it to this client lately",
)
REVALIDATED = _status(
    "hit; detail=revalidated",
    "a tag or a list: the registry, asked just now, said that it is what is on the disk",
    "the registry said just now that it is what is held",
)
STALE = _status(
    "hit; detail=stale",
    "a tag or a list: the registry does not answer; what it last was, with a `Warning` that says"
    " how long ago (stale-if-error, RFC 5861)",
    "the registry does not answer",
)
UNCONFIRMED = _status(
    "hit; detail=unconfirmed",
    "from the disk, for who may have it while a registry is away",
    "the registry does not answer, and this client had it before",
)
OFFLINE = _status(
    "hit; detail=offline",
    "a ping or a token, answered here while the registry or its token server is away",
    "the registry or its token server does not answer",
)
PING = _status(
    "hit; detail=ping",
    "from memory: what the registry says to any ping without a login, at most 5 minutes old",
    "the registry said it in the last 5 minutes",
)
ACCOUNT = _status(
    "hit; detail=account",
    "a ping or a token, answered here since the proxy has an account",
    "the proxy has an account for it",
)
CATALOG = _status(
    "hit; detail=catalog",
    "on a mirror: the list of the repositories in the cache",
    "the list of what is held",
)
TAGS = _status(
    "hit; detail=tags",
    "on a mirror: the list of a repository's tags in the cache",
    "the list of what is held",
)
STORED = _status(
    "fwd=miss; stored", "fetched now, and being stored while it is sent", "not held, or changed"
)
COLLAPSED = _status(
    "fwd=miss; collapsed",
    "another client's fetch was running: this answer follows it",
    "another client's fetch was under way",
)
RANGE = _status(
    "fwd=miss; detail=range",
    "a part, fetched ahead of the rest: the registry's own bytes as they come, which the client"
    " verifies by itself",
    "not held yet; what is asked for is fetched first",
)
UNSTORED = _status(
    "fwd=miss; detail=unstored",
    "verified and sent, but there was no room to store it",
    "not held, and there is no room to store it",
)
MISS = _status(
    "fwd=miss",
    "not here, and the registry could not be asked: an error of the proxy's own",
    "not held",
)


def miss(status: int) -> CacheStatus:
    """Not here: the registry's own answer, with its ``status``."""
    return FIELD, f"{_CACHE}; fwd=miss; fwd-status={status}"


_MEANINGS[miss(401)[1]] = "the registry's own answer, whatever its status"


def bypass(detail: str) -> CacheStatus:
    """The registry's own answer; ``detail``: the kind of request (``Endpoint.detail``)."""
    return FIELD, f"{_CACHE}; fwd=bypass; detail={detail}"


_MEANINGS[bypass("tags")[1]] = (
    "the registry's own answer, asked for each time: the detail is `ping`, `token`, `catalog`,"
    " `tags`, `referrers`, `upload`, `other`, or a `blob` or `manifest` that was written. Of lists"
    " (`catalog`, `tags`, `referrers`) a copy is kept for when the registry is away"
)
ADDRESS = _status(
    "fwd=bypass; detail=address",
    "a client that fetches blobs by parts asked where one is: it is told an address of the proxy's"
    " own",
    "it is told where to fetch the parts, and gets no byte of the blob",
)

ERROR = _status(
    "detail=error", "refused by the proxy itself, before anything was asked", "refused by the proxy"
)


def markdown_table() -> str:
    """All values and their meanings, as the documentation has them."""
    rows = [f"| `{value}` | {meaning} |" for value, meaning in _MEANINGS.items()]
    return "\n".join(["| value | meaning |", "| --- | --- |", *rows]) + "\n"
