"""Who may be served what from the cache, as upstream decided it.

The rules (promise 2: nobody gets what the upstream would not give them):

- A decision is upstream's own: it allowed *this* credential *this* object in *this* repository.
  Only allowing is remembered, in memory, for 60 s, or for as long as the token lives where its
  end is known, and never longer than 5 minutes.
- What carries identity is part of the credential: ``Authorization`` and every header field that
  is not known to be neutral, so that an unknown scheme (a cookie, ``PRIVATE-TOKEN``) can only
  cost a question, never leak an answer. Credentials are kept as HMACs under a secret that dies
  with the process.
- Where the proxy asks with an account of its own, that account is who asks.
- What an anonymous request was allowed is public: no ``Authorization`` at all, or a token that
  this proxy saw handed out to a request without credentials. Such an object of a repository
  needs no further decision for anyone for 10 minutes.
- A decision counts from when upstream was asked, not from when it was taken in.
- A denial forgets what that credential was allowed there, and, where it was anonymous, what was
  public there. Questions that were asked before it and answered after it allow nothing either.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from entrepot.account import ANYONE, NOBODY
from entrepot.message import HOP_BY_HOP, Request
from entrepot.reference import Digest, Repository

DECISION_SECONDS = 60.0
LONGEST_DECISION_SECONDS = 300.0
PUBLIC_SECONDS = 600.0

NEUTRAL = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-length",
        "content-type",
        "date",
        "docker-distribution-api-version",
        "expect",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "pragma",
        "range",
        "referer",
        "traceparent",
        "tracestate",
        "user-agent",
        "via",
        "x-request-id",
    }
    | HOP_BY_HOP
)
"""Header fields that say nothing of who asks."""

_NO_FIELD = ("", "")
"""Sets an account's name apart from a header field that a client could send."""

_ANYBODY = b""
"""Stands for a fingerprint where a decision counts for everybody."""

_MOST_GRANTS = 20_000
_MOST_DIGESTS_A_GRANT = 2_000
_MOST_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks, without anything that could be replayed."""

    fingerprint: bytes
    anonymous: bool
    expires: float | None = None
    """When the token ends, as seconds of the caller's clock; None where unknown."""
    label: str | None = None
    """By what the store remembers what it was given; None: it does not, as with a client's own."""


@dataclass(frozen=True, slots=True)
class Asked:
    """When a question went upstream: its time, and its place among refusals and deletions."""

    at: float
    turn: int = 0


@dataclass(slots=True)
class _Token:
    anonymous: bool
    expires: float


def identity_fields(request: Request) -> list[tuple[str, str]]:
    """The header fields of ``request`` that may say who asks, names in lower case."""
    return [(k.lower(), v) for k, v in request.headers if k.lower() not in NEUTRAL]


class Access:
    """Upstream's decisions, remembered. Times are seconds of one clock that the caller holds."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._tokens: OrderedDict[bytes, _Token] = OrderedDict()
        self._grants: OrderedDict[tuple[Repository, bytes], dict[Digest, float]] = OrderedDict()
        self._turn = 0
        self._overruled: OrderedDict[tuple[Repository, bytes | Digest], int] = OrderedDict()
        """The turn of the last refusal of a credential, or deletion of an object."""
        self._overruled_all = 0

    def credential(self, request: Request) -> Credential:
        """Who asks: the client, or the account as which the proxy asks for it."""
        if request.account is not None:
            account = request.account
            of_account = self._fingerprint([_NO_FIELD, ("account", account.username)])
            return Credential(of_account, anonymous=account is NOBODY, label=account.label)
        fields = sorted(identity_fields(request))
        fingerprint = self._fingerprint(fields)
        token = self._tokens.get(fingerprint)
        anonymous = not fields or (token is not None and token.anonymous)
        return Credential(
            fingerprint,
            anonymous=anonymous,
            expires=token.expires if token else None,
            label=ANYONE if anonymous else None,
        )

    def token_issued(self, token: str, *, anonymous: bool, expires: float, now: float) -> None:
        """Remember a bearer token that a token server was seen to hand out."""
        while self._tokens and next(iter(self._tokens.values())).expires <= now:
            self._tokens.popitem(last=False)
        fingerprint = self._fingerprint([("authorization", f"Bearer {token}")])
        self._tokens[fingerprint] = _Token(anonymous, expires)
        _trim(self._tokens, _MOST_TOKENS)

    def asked(self, now: float) -> Asked:
        """Mark a question that goes upstream now."""
        return Asked(now, self._turn)

    def allow(
        self,
        repository: Repository,
        credential: Credential,
        digests: Iterable[Digest],
        asked: Asked,
    ) -> None:
        """Remember that upstream allowed ``credential`` these objects of ``repository``."""
        digests = [d for d in digests if not self._is_overruled((repository, d), asked)]
        self._grant(
            repository, credential.fingerprint, digests, asked, _lifetime(credential, asked)
        )
        if credential.anonymous:
            self._grant(repository, _ANYBODY, digests, asked, PUBLIC_SECONDS)

    def _grant(
        self,
        repository: Repository,
        fingerprint: bytes,
        digests: list[Digest],
        asked: Asked,
        seconds: float,
    ) -> None:
        key = (repository, fingerprint)
        if self._is_overruled(key, asked):
            return
        grant = self._grants.setdefault(key, {})
        for digest in [d for d, end in grant.items() if end <= asked.at]:
            del grant[digest]
        _add(grant, digests, asked.at + seconds)
        self._grants.move_to_end(key)
        self._drop_ended(asked.at)
        _trim(self._grants, _MOST_GRANTS)

    def _drop_ended(self, now: float) -> None:
        """Docker has a new token for each pull: those of yesterday would fill the memory."""
        while self._grants:
            oldest = next(iter(self._grants.values()))
            if any(end > now for end in oldest.values()):
                return
            self._grants.popitem(last=False)

    def extend(
        self,
        repository: Repository,
        credential: Credential,
        digest: Digest,
        listed: Collection[Digest],
    ) -> None:
        """Let the decision on a manifest count for what it lists, as long as it lasts itself."""
        for fingerprint in (credential.fingerprint, _ANYBODY):
            grant = self._grants.get((repository, fingerprint), {})
            if digest in grant:
                _add(grant, listed, grant[digest])

    def deny(self, repository: Repository, credential: Credential) -> None:
        """Forget what ``credential`` was allowed in ``repository``: upstream refused it now."""
        for fingerprint in (credential.fingerprint, *([_ANYBODY] if credential.anonymous else [])):
            self._grants.pop((repository, fingerprint), None)
            self._overrule((repository, fingerprint))

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Forget every decision on an object that a client deleted or replaced."""
        for (owner, _), grant in self._grants.items():
            if owner == repository:
                grant.pop(digest, None)
        self._overrule((repository, digest))

    def is_allowed(
        self, repository: Repository, credential: Credential, digest: Digest, now: float
    ) -> bool:
        """Whether a remembered decision of upstream covers this."""
        return any(
            self._grants.get((repository, fingerprint), {}).get(digest, 0.0) > now
            for fingerprint in (credential.fingerprint, _ANYBODY)
        )

    def still_counts(
        self,
        repository: Repository,
        credential: Credential,
        digest: Digest,
        asked: Asked,
        now: float,
    ) -> bool:
        """Whether an allowance that was asked for then may be acted on now."""
        return now - asked.at < DECISION_SECONDS and not (
            self._is_overruled((repository, credential.fingerprint), asked)
            or self._is_overruled((repository, digest), asked)
        )

    def _overrule(self, key: tuple[Repository, bytes | Digest]) -> None:
        self._turn += 1
        self._overruled[key] = self._turn
        self._overruled.move_to_end(key)
        while len(self._overruled) > _MOST_GRANTS:
            _, self._overruled_all = self._overruled.popitem(last=False)

    def _is_overruled(self, key: tuple[Repository, bytes | Digest], asked: Asked) -> bool:
        return asked.turn < self._overruled.get(key, self._overruled_all)

    def _fingerprint(self, fields: list[tuple[str, str]]) -> bytes:
        text = "".join(f"{len(k)}:{k}{len(v)}:{v}" for k, v in fields)
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _lifetime(credential: Credential, asked: Asked) -> float:
    if credential.expires is None:
        return DECISION_SECONDS
    return max(0.0, min(credential.expires - asked.at, LONGEST_DECISION_SECONDS))


def _add(grant: dict[Digest, float], digests: Iterable[Digest], until: float) -> None:
    for digest in digests:
        if len(grant) >= _MOST_DIGESTS_A_GRANT and digest not in grant:
            break
        grant[digest] = max(until, grant.get(digest, 0.0))


def _trim(table: OrderedDict[Any, Any], most: int) -> None:
    while len(table) > most:
        table.popitem(last=False)
