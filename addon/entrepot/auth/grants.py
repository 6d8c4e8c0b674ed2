"""The grants of upstream: who may be served what from the cache, and for how long that counts.

``pull.authorization`` looks a grant up here, asks upstream where there is none, and has what it
answers remembered. Who asks is told by ``credentials``; the tables are in ``grant_memory``. All of
it is in memory: what ``pull.stale`` decides by while upstream is away is kept on disk
(``storage.past_grants``).

The rules (promise 2: nobody gets what the upstream would not give them):

- A decision is upstream's own: it allowed *this* credential *this* object in *this* repository.
  Only allowing is remembered, in memory, for 60 s, or for as long as the token lives where its
  end is known, and never longer than 5 minutes.
- What an anonymous request was allowed is public: no ``Authorization`` at all, or a token that
  this proxy saw handed out to a request without credentials. Such an object of a repository
  needs no further decision for anyone for 10 minutes.
- A decision counts from when upstream was asked, not from when it was taken in.
- A manifest that was allowed allows what it lists, for as long as it is allowed itself.
- A refusal (401, 403) forgets what that credential was allowed in that repository, and, where it
  says that nobody anonymous is let in, what was public there. That one object is not there (404)
  forgets that object, in the same way. Nothing that one client is told takes away what others
  were given. A deletion that passed by here does, for everybody.
- Questions that were asked before a refusal or deletion and answered after it allow nothing either.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from entrepot.auth.credentials import Credential, Credentials
from entrepot.auth.grant_memory import Decision, Grants, Listings, Turns
from entrepot.protocol.identifiers import Digest, Repository, Tag

DECISION_SECONDS = 60.0
LONGEST_DECISION_SECONDS = 300.0
PUBLIC_SECONDS = 600.0

_ANYBODY = b"anybody"
"""Stands for a fingerprint where a decision counts for everybody."""
_EVERYBODY = b"everybody"
"""The same where an object was deleted, whoever was allowed it."""

_GRANT_BYTES = 12 * 1024 * 1024
_LISTING_BYTES = 14 * 1024 * 1024
_MOST_TURNS = 8_000
"""Together with what is known of tokens (``anonymous_tokens``) 32 MiB at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """When a question went upstream: its time, and its place among refusals and deletions."""

    at: float
    turn: int = 0


class Access:
    """Upstream's decisions, remembered. Times are seconds of one clock that the caller holds.

    They are taken in on the event loop alone; whether one stands may be asked on any thread.
    """

    def __init__(self, secret: bytes) -> None:
        self.credentials = Credentials(secret)
        self._grants = Grants(_GRANT_BYTES)
        self.listings = Listings(_LISTING_BYTES)
        self._turn = 0
        self._refused = Turns(_MOST_TURNS)
        """Of credentials in repositories, and of one object there."""
        self._deleted = Turns(_MOST_TURNS)
        self._untagged = Turns(_MOST_TURNS)

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
        seconds = _lifetime(credential, asked)
        where = _where(repository)
        for digest in digests:
            self._grant(where, credential.fingerprint, digest.raw, asked, seconds)
            if credential.anonymous:
                self._grant(where, _ANYBODY, digest.raw, asked, PUBLIC_SECONDS)

    def _grant(
        self, where: bytes, fingerprint: bytes, digest: bytes, asked: Asked, seconds: float
    ) -> None:
        if not self._is_overruled(where, fingerprint, digest, asked.turn):
            decision = (asked.at + seconds, asked.turn)
            self._grants.add(_scope(where, fingerprint), digest, decision, asked.at)

    def extend(
        self,
        repository: Repository,
        credential: Credential,
        digest: Digest,
        listed: Callable[[], Collection[Digest]],
    ) -> None:
        """Let the decision on a manifest count for what it lists, as long as it lasts itself.

        ``listed`` is asked only where nobody was allowed this manifest lately. A manifest that is
        allowed since an index lists it has the index's decision from now on.
        """
        where, raw, allowed = _where(repository), digest.raw, False
        for fingerprint in (credential.fingerprint, _ANYBODY):
            decision = self._decision(where, fingerprint, raw)
            if decision is not None:
                self._grants.add(_scope(where, fingerprint), raw, decision, float("-inf"))
                allowed = True
        if allowed:
            self.listings.learn(digest, listed)

    def deny(
        self, repository: Repository, credential: Credential, *, everybody: bool = True
    ) -> None:
        """Forget what ``credential`` was allowed in ``repository``: upstream refused it now.

        ``everybody``: where it is anonymous, nobody else who is would be let in either.
        """
        self._turn += 1
        for fingerprint in _fingerprints(credential, everybody=everybody):
            scope = _scope(_where(repository), fingerprint)
            self._grants.drop(scope)
            self._refused.put(scope, self._turn)

    def gone(
        self,
        repository: Repository,
        credential: Credential,
        digest: Digest,
        *,
        everybody: bool = True,
    ) -> None:
        """Forget that ``credential`` was allowed an object: upstream says that it is not there."""
        self._turn += 1
        for fingerprint in _fingerprints(credential, everybody=everybody):
            scope = _scope(_where(repository), fingerprint)
            self._grants.drop(scope, digest.raw)
            self._refused.put(scope + digest.raw, self._turn)

    def told(self, repository: Repository, whose: str, tag: Tag, *, gone: bool) -> None:
        """Remember whether upstream last said that a tag is not there (``Credential.heard_as``)."""
        key = _scope(_where(repository), whose.encode()) + tag.name.encode()
        if gone:
            self._untagged.put(key, self._turn)
        else:
            self._untagged.drop(key)

    def is_gone(self, repository: Repository, whose: str, tag: Tag) -> bool:
        """Whether the last that such were told of a tag is that it is not there."""
        key = _scope(_where(repository), whose.encode()) + tag.name.encode()
        return key in self._untagged

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Forget every decision on an object that a client deleted."""
        self._turn += 1
        self._deleted.put(_scope(_where(repository), _EVERYBODY) + digest.raw, self._turn)

    def is_allowed(
        self, repository: Repository, credential: Credential, digest: Digest, now: float
    ) -> bool:
        """Whether a remembered decision of upstream covers this."""
        where, raw = _where(repository), digest.raw
        return any(
            self._decision(where, fingerprint, raw, now) is not None
            for fingerprint in (credential.fingerprint, _ANYBODY)
        )

    def _decision(
        self, where: bytes, fingerprint: bytes, digest: bytes, now: float = float("-inf")
    ) -> Decision | None:
        """The decision that covers an object after ``now``: its own, or that of what lists it."""
        scope, everybodys = _scope(where, fingerprint), _scope(where, _EVERYBODY)
        least = max(self._deleted.last(everybodys + digest), self._refused.known(scope + digest))
        own = self._grants.get(scope, digest)
        if own is not None and own[0] > now and own[1] >= least:
            return own
        for manifest, decision in self._grants.latest(scope):
            if decision[0] > now and self.listings.lists(manifest, digest):
                deleted = self._deleted.last(everybodys + manifest)
                if decision[1] >= max(least, deleted):
                    return decision
        return None

    def still_counts(
        self,
        repository: Repository,
        credential: Credential,
        digest: Digest,
        asked: Asked,
        now: float,
    ) -> bool:
        """Whether an allowance that was asked for then may be acted on now."""
        where = _where(repository)
        fresh = now - asked.at < DECISION_SECONDS
        return fresh and not self._is_overruled(
            where, credential.fingerprint, digest.raw, asked.turn
        )

    def stands(
        self, repository: Repository, credential: Credential, digest: Digest, asked: Asked
    ) -> bool:
        """Whether nothing was heard since that speaks against what was allowed then.

        To ``credential``, and where it is anonymous to anybody.
        """
        where = _where(repository)
        return not any(
            self._is_overruled(where, fingerprint, digest.raw, asked.turn)
            for fingerprint in _fingerprints(credential, everybody=True)
        )

    def is_deleted(self, repository: Repository, digest: Digest, asked: Asked) -> bool:
        """Whether an object was deleted since."""
        key = _scope(_where(repository), _EVERYBODY) + digest.raw
        return asked.turn < self._deleted.last(key)

    def _is_overruled(self, where: bytes, fingerprint: bytes, digest: bytes, turn: int) -> bool:
        scope = _scope(where, fingerprint)
        return turn < max(
            self._deleted.last(_scope(where, _EVERYBODY) + digest),
            self._refused.last(scope + digest),
            self._refused.last(scope),
        )


def _fingerprints(credential: Credential, *, everybody: bool) -> tuple[bytes, ...]:
    """For whom a word to ``credential`` counts: to one who is anonymous perhaps for all such."""
    anybody = (_ANYBODY,) if everybody and credential.anonymous else ()
    return (credential.fingerprint, *anybody)


def _where(repository: Repository) -> bytes:
    origin = repository.origin
    return f"{origin.scheme} {origin.host} {origin.port} {repository.name} ".encode()


def _scope(where: bytes, fingerprint: bytes) -> bytes:
    """Stands for a credential in a repository."""
    return hashlib.blake2b(where + fingerprint, digest_size=20).digest()


def _lifetime(credential: Credential, asked: Asked) -> float:
    if credential.expires is None:
        return DECISION_SECONDS
    return max(0.0, min(credential.expires - asked.at, LONGEST_DECISION_SECONDS))
