"""Who asks: credentials told apart without keeping them, and tokens known to be anybody's.

What carries identity is part of a credential: ``Authorization`` and every header field that is not
known to be neutral (``header_filters``), so that an unknown scheme (a cookie, ``PRIVATE-TOKEN``)
can only cost a question, never leak an answer. Credentials are kept as HMACs under a secret that
dies with the process. Where the proxy asks with an account of its own, that account is who asks.
"""

import hashlib
import hmac
from dataclasses import dataclass

from entrepot.auth.anonymous_tokens import SeenTokens
from entrepot.protocol.account import ANYONE, NOBODY
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.messages import Request

_NO_FIELD = ("", "")
"""Sets an account's name apart from a header field that a client could send."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks, without anything that could be replayed."""

    fingerprint: bytes
    anonymous: bool
    expires: float | None = None
    """When the token ends, as seconds of the caller's clock; None where unknown."""
    label: str | None = None
    """By what the store remembers what it was given; None: it does not, as with a client's own."""

    @property
    def heard_as(self) -> str:
        """For whom it counts what upstream says of tags: for all of its label, or it alone."""
        return self.label or self.fingerprint.hex()


class Credentials:
    """Tells who asks. Times are seconds of one clock that the caller holds."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._tokens = SeenTokens()

    def of(self, request: Request) -> Credential:
        """Who asks: the client, or the account as which the proxy asks for it."""
        if request.account is not None:
            account = request.account
            of_account = self._fingerprint([_NO_FIELD, ("account", account.username)])
            return Credential(of_account, anonymous=account is NOBODY, label=account.label)
        fields = sorted(identity_fields(request))
        fingerprint = self._fingerprint(fields)
        from_token, expires = self._tokens.get(fingerprint)
        anonymous = not fields or from_token
        return Credential(
            fingerprint, anonymous=anonymous, expires=expires, label=ANYONE if anonymous else None
        )

    def token_issued(self, token: str, *, anonymous: bool, expires: float, now: float) -> None:
        """Remember a bearer token that a token server was seen to hand out."""
        fingerprint = self._fingerprint([("authorization", f"Bearer {token}")])
        self._tokens.add(fingerprint, anonymous=anonymous, expires=expires, now=now)

    def _fingerprint(self, fields: list[tuple[str, str]]) -> bytes:
        text = "".join(f"{len(k)}:{k}{len(v)}:{v}" for k, v in fields)
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
