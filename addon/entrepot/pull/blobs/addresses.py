"""Addresses of the proxy's own, for clients that ask a registry only where a blob's bytes are.

Registries send such clients (``quirks.asks_where``) to a signed address of a content network, which
takes no login and gives what it is asked for to whoever knows it. The proxy sends them to the same
blob again, marked in the query; to ask starts no fetch. What comes to such an address

- asks as who was told it: the login that they showed is kept here, in memory, and is never part of
  the address. It is one client's (by its IP address), for one blob of one repository;
- may be answered for a while by what the registry said when it was told, unless a refusal was heard
  since, for who fetches by parts cannot show a new token: for 20 minutes where the registry itself
  redirected to a content network, as long as such addresses are signed for at least; else for 5,
  as any decision counts at most. After that, or for what has to be fetched, the registry is asked
  with the login;
- is what anybody may have, where nothing is known of the address: after a restart, or from another
  client.

The host is spelt in the other case (RFC 9110 section 4.2.3: the same host): to these clients it is
another one then, and only another's address is taken. An IPv4 address has but one spelling; there
the address goes along with the blob.
"""

import secrets
from dataclasses import dataclass, replace

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import LONGEST_DECISION_SECONDS
from entrepot.bounded_map import BoundedMap
from entrepot.http_client.errors import UpstreamError
from entrepot.protocol import cache_status
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.identifiers import Digest, HostPort, Repository
from entrepot.protocol.messages import API_VERSION, Answer, Fields, Request, upstream_error
from entrepot.protocol.quirks import asks_where
from entrepot.protocol.statuses import TRANSIENT
from entrepot.pull.authorization import Authorization, Evidence
from entrepot.pull.pull import Pull
from entrepot.upstream.context import Context

PARAMETER = "entrepot-address"
"""The field of the query that marks such an address."""
SIGNED_SECONDS = 20 * 60.0
"""For how long distribution signs an address of its store (the S3 driver's redirect); others do so
for an hour or a day."""
_ANYBODYS = "anybody"
"""The value of it where its client showed no login."""
_MOST = 4096
_KEPT_SECONDS = 24 * 3600.0
"""How long a login is kept for an address; a pull goes on with a new one."""


@dataclass(frozen=True, slots=True)
class _Told:
    """To whom an address was told, and what the registry had said then of the blob there."""

    client: str
    target: tuple[str, str]
    """Origin and path: the login goes nowhere else."""
    login: Fields
    repository: Repository
    digest: Digest
    who: Credential
    evidence: Evidence | None
    at: float


class Addresses:
    """Tells clients where a blob is, and knows them by it. On the event loop alone."""

    def __init__(self, context: Context, authorization: Authorization) -> None:
        self._context = context
        self._authorization = authorization
        self._told: BoundedMap[str, _Told] = BoundedMap(_MOST)

    def settle(self, request: Request) -> Request:
        """The request that is meant by one to an address: its mark off, its login on."""
        fields = request.query.split("&") if PARAMETER in request.query else []
        marks = [field for field in fields if field.startswith(f"{PARAMETER}=")]
        if len(marks) != 1:
            return request
        address = marks[0].partition("=")[2]
        query = "&".join(field for field in fields if field not in marks)
        told = self._told.get(address)
        ours = told is not None and (told.client, *told.target) == (
            request.client,
            str(request.origin),
            request.path,
        )
        login = told.login if told is not None and ours and not identity_fields(request) else ()
        return replace(
            request,
            query=query,
            headers=(*request.headers, *login),
            received=request.received or request.target,
            address=address if ours else _ANYBODYS,
        )

    async def answer(self, pull: Pull) -> Answer | None:
        """Where to fetch a blob, or the registry's refusal; None where that is not the question."""
        if not _asks(pull.request) or _respelt(pull.request) is None:
            return None
        evidence = None
        if self._login(pull) or not self._authorization.is_granted(pull):
            outcome = await self._ask(pull)
            if isinstance(outcome, Answer):
                return outcome
            evidence = outcome
        where = self._location(pull, evidence)
        fields: Fields = (("Content-Length", "0"), ("Cache-Control", "no-store"), API_VERSION)
        return Answer(307, (*where, *fields, cache_status.ADDRESS))

    def completed(self, pull: Pull, answer: Answer) -> Answer:
        """An answer to a request for a blob, as a client needs it that fetches it by parts."""
        request = pull.request
        if request.method != "GET" or answer.status != 200:
            return answer
        if _asks(request):
            return answer.adding(*self._location(pull, None))
        if request.address is not None and request.value("Range") is not None:
            answer.close()
            reason = "it sent the whole where a part was asked for"
            return upstream_error(502, "UNAVAILABLE", request.origin, reason)
        return answer

    def allows(self, pull: Pull, size: int | None) -> bool:
        """Whether the registry allowed this blob of ``size`` bytes when the address was told."""
        told = self._told.get(pull.request.address or "")
        if told is None or told.evidence is None or not told.evidence.can_be(pull.digest, size):
            return False
        seconds = SIGNED_SECONDS if told.evidence.elsewhere else LONGEST_DECISION_SECONDS
        evidence, where = told.evidence, (told.repository, told.digest, told.who.fingerprint)
        return (
            where == (pull.repository, pull.digest, pull.who.fingerprint)
            and self._context.clock() - evidence.asked.at < seconds
            and self._context.access.stands(pull.repository, pull.who, pull.digest, evidence.asked)
        )

    async def _ask(self, pull: Pull) -> Evidence | Answer | None:
        """What the registry shows this client, or its refusal; None where none can be had now.

        Then it is found out by the parts, as for any request, what may be served.
        """
        try:
            outcome = await self._authorization.ask_for_blob(pull)
        except UpstreamError:
            return None
        if isinstance(outcome, Answer) and outcome.status in TRANSIENT:
            outcome.close()
            return None
        if isinstance(outcome, Evidence) and outcome.is_named(pull.digest):
            await self._authorization.grant(pull, outcome.asked)
        return outcome

    def _location(self, pull: Pull, evidence: Evidence | None) -> Fields:
        request, login, address = pull.request, self._login(pull), _ANYBODYS
        if login:
            address = secrets.token_urlsafe(16)
            told = _Told(
                request.client,
                (str(request.origin), request.path),
                login,
                pull.repository,
                pull.digest,
                pull.who,
                evidence,
                self._context.clock(),
            )
            self._forget_old()
            self._told.put(address, told)
        target = request.received or request.target
        mark = f"{'&' if '?' in target else '?'}{PARAMETER}={address}"
        host = _respelt(request)
        return (("Location", f"//{host}{target}{mark}" if host else f"{target}{mark}"),)

    def _forget_old(self) -> None:
        while (oldest := self._told.oldest()) is not None:
            if self._context.clock() - oldest[1].at < _KEPT_SECONDS:
                return
            self._told.pop(oldest[0])

    def _login(self, pull: Pull) -> Fields:
        return tuple(identity_fields(pull.request)) if pull.request.account is None else ()


def _asks(request: Request) -> bool:
    """Whether a client asks where a blob is, by the registry's own address of it."""
    agent, ranges = request.value("User-Agent") or "", request.value("Range")
    return request.method == "GET" and request.address is None and asks_where(agent, ranges)


def _respelt(request: Request) -> str | None:
    """The host that the request names, in the other case; None where it has no letters."""
    named = request.value("Host") or ""
    try:
        HostPort.parse(named)
    except ValueError:
        return None
    respelt = named.swapcase()
    return respelt if respelt != named else None
