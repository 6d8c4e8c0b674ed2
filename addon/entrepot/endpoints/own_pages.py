"""The proxy's own pages, for requests that are addressed to it instead of through it.

``/ca.pem`` is the certificate (never the key) for ``ca/install.sh``; ``/healthz`` is for
monitors (:mod:`healthz`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from entrepot.endpoints.healthz import state
from entrepot.protocol.messages import Answer, Fields, error_answer
from entrepot.protocol.routes import READS

_HELP = """\
This is an Entrepot registry cache. It is an HTTP proxy: set HTTPS_PROXY to its address.
On the address of a mirror (--mirror) it is a registry to pull from.

GET /ca.pem    the certificate to trust (install it with ca/install.sh)
GET /healthz   state, counters, upstreams that are away or limit pulls, clients without the CA
"""


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers for the proxy's own address."""

    certificate: bytes
    counters: Callable[[], Mapping[str, int]]
    upstreams: Callable[[], Mapping[str, object]]
    untrusting_clients: Callable[[], Sequence[Mapping[str, object]]] = tuple

    def answer(self, method: str, path: str) -> Answer:
        """Answer a request for one of the pages."""
        if method not in READS:
            refusal = error_answer(405, "UNSUPPORTED", "the proxy's own pages are for GET")
            return refusal.adding(("Allow", "GET, HEAD"))
        match path.partition("?")[0]:
            case "/ca.pem":
                return _page(method, "application/x-pem-file", self.certificate)
            case "/healthz":
                content = state(self.counters(), self.upstreams(), self.untrusting_clients())
                return _page(method, "application/json", content)
            case "/":
                return _page(method, "text/plain; charset=utf-8", _HELP.encode())
            case _:
                return error_answer(404, "NOT_FOUND", "this is a proxy; see GET / for its pages")


def _page(method: str, media_type: str, content: bytes) -> Answer:
    headers: Fields = (
        ("Content-Type", media_type),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
    )
    return Answer(200, headers, b"" if method == "HEAD" else content)
