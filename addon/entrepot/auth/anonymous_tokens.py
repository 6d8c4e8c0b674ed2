"""Which bearer tokens are anybody's: those handed out to a request that showed no credentials.

Tokens are opaque, so this is known only of those that the proxy saw being handed out, by a token
server of the registry's own domain (``token_servers``).
"""

from urllib.parse import parse_qsl

from entrepot.bounded_map import BoundedMap
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.messages import Request

ANONYMOUS_QUERY = frozenset({"service", "scope", "client_id", "offline_token", "account"})
"""What a request for a token may say in its query without showing a credential."""
_MOST_TOKENS = 20_000


def is_anonymous(request: Request) -> bool:
    """Whether a request for a token shows no credentials of any kind."""
    keys = {key for key, _ in parse_qsl(request.query, keep_blank_values=True)}
    return request.method == "GET" and not identity_fields(request) and keys <= ANONYMOUS_QUERY


class SeenTokens:
    """The tokens that were seen being handed out, by a fingerprint that cannot be replayed."""

    def __init__(self) -> None:
        self._seen: BoundedMap[bytes, tuple[bool, float]] = BoundedMap(_MOST_TOKENS)

    def get(self, fingerprint: bytes) -> tuple[bool, float | None]:
        """Whether a token is anonymous, and when it ends; not anonymous where it was not seen."""
        return self._seen.get(fingerprint, (False, None))

    def add(self, fingerprint: bytes, *, anonymous: bool, expires: float, now: float) -> None:
        """Remember a token, and forget those that have ended."""
        while (oldest := self._seen.oldest()) and oldest[1][1] <= now:
            self._seen.pop(oldest[0])
        self._seen.put(fingerprint, (anonymous, expires), renew=False)
