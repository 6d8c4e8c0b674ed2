"""The proxy's own pages, for requests that are addressed to it instead of through it.

``/ca.pem`` is the certificate (never the key) for ``ca/install.sh``, ``/setup`` sets a client up
(:mod:`setup`); ``/livez`` and ``/readyz`` are for supervisors and load balancers, ``/healthz`` is
for monitors (:mod:`healthz`), ``/metrics`` for Prometheus (``metrics``).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from entrepot.config.mirror_spec import Mirror
from entrepot.endpoints.health import healthz
from entrepot.endpoints.health.readiness import Readiness
from entrepot.endpoints.page_request import PageRequest
from entrepot.endpoints.setup.setup_pages import SetupPages
from entrepot.endpoints.setup.variants import VARIANTS
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, Fields, error_answer
from entrepot.protocol.routes import READS
from entrepot.upstream.host_outcomes import UpstreamState

_VARIANTS = "\n".join(f"GET /setup/{name:<16} {variant.use}" for name, variant in VARIANTS.items())
_HELP = f"""\
This is an Entrepot registry cache. It is an HTTP proxy: set HTTPS_PROXY to its address.
On the address of a mirror (--mirror) it is a registry to pull from.

GET /          in a browser: what is cached and what it saves; GET /api/ is the same as JSON
GET /ca.pem    the certificate to trust, two while it changes (install it with ca/install.sh)
GET /livez     200: the process answers
GET /readyz    200: it listens, is not stopping, and can store; else 503, and why
GET /healthz   state, counters, upstreams and how each does, clients without the CA
GET /metrics   the same as numbers over time, for Prometheus

GET /setup     sets a client up: curl -fsS http://CACHE:3128/setup | sudo sh -s -- --help
{_VARIANTS}
"""
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers for the proxy's own address; ``wall`` is the time of day."""

    certificates: Callable[[], bytes]
    """What clients are given to trust, in PEM."""
    counters: Callable[[], Mapping[str, int]]
    upstreams: Callable[[], Mapping[Origin, UpstreamState]]
    readiness: Readiness
    wall: Callable[[], float]
    untrusting_clients: Callable[[], Sequence[Mapping[str, object]]] = tuple
    authority: Callable[[], Mapping[str, object]] = dict
    mirrors: Sequence[Mirror] = ()
    metrics: Callable[[str], Awaitable[tuple[str, bytes]]] | None = None
    """The media type and the text, for who accepts these types."""

    async def answer(self, request: PageRequest) -> Answer:
        """Answer a request for one of the pages."""
        method, path = request.method, request.path
        if method not in READS:
            refusal = error_answer(405, "UNSUPPORTED", "the proxy's own pages are for GET")
            return refusal.adding(("Allow", "GET, HEAD"))
        match path:
            case "/ca.pem":
                return _page(method, "application/x-pem-file", self.certificates())
            case "/livez":
                return _page(method, _JSON, healthz.live())
            case "/readyz":
                return await self._ready(method)
            case "/healthz":
                return await self._state(method)
            case "/metrics" if self.metrics is not None:
                return _page(method, *await self.metrics(request.value("accept")))
            case "/":
                return _page(method, "text/plain; charset=utf-8", _HELP.encode())
            case _ if path == "/setup" or path.startswith("/setup/"):
                name = None if path == "/setup" else path.removeprefix("/setup/")
                setup = SetupPages(self.certificates(), self.mirrors)
                answer = setup.answer(name, request.value("host"), request.proxy_port)
                return answer if method == "GET" else replace(answer, content=b"")
            case _:
                return error_answer(404, "NOT_FOUND", "this is a proxy; see GET / for its pages")

    async def _ready(self, method: str) -> Answer:
        problems = await self.readiness.problems()
        return _page(method, _JSON, healthz.ready(problems), 503 if problems else 200)

    async def _state(self, method: str) -> Answer:
        problems, takes_pulls = await self.readiness.problems(), self.readiness.takes_pulls
        content = healthz.state(
            self.counters(),
            self.upstreams(),
            problems,
            self.untrusting_clients(),
            self.authority(),
            takes_pulls=takes_pulls,
            now=self.wall(),
        )
        return _page(method, _JSON, content, 200 if takes_pulls else 503)


def _page(method: str, media_type: str, content: bytes, status: int = 200) -> Answer:
    headers: Fields = (
        ("Content-Type", media_type),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
    )
    return Answer(status, headers, b"" if method == "HEAD" else content)
