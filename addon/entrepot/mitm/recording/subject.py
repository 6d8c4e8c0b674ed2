"""What a request is about, noted with its flow once that is known: only such are recorded."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_specs import ReverseMode, TransparentMode

from entrepot.observe.request_record import Road
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirks import configured_name
from entrepot.protocol.routes import Blob, Endpoint, Manifest, Referrers, TagList, Upload

SUBJECT = "entrepot.subject"
"""Key of ``flow.metadata``: the :class:`Subject` of a flow that is to be recorded."""

UNTRUSTING = "the client refused our certificate for this host lately"
"""Why a client is tunnelled that does not trust us."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked of which registry (None: of none that is named)."""

    registry: Origin | None
    endpoint: Endpoint

    @property
    def registry_name(self) -> str:
        """The registry as one names it; empty where none is named."""
        return "" if self.registry is None else configured_name(self.registry)

    @property
    def repository(self) -> str:
        """The repository's name; empty where none is asked for."""
        match self.endpoint:
            case Blob(name) | Manifest(name) | TagList(name) | Referrers(name) | Upload(name):
                return name
            case _:
                return ""

    @property
    def reference(self) -> str:
        """The tag or digest that is asked for; empty where none is."""
        match self.endpoint:
            case Blob(_, digest) | Referrers(_, digest):
                return str(digest)
            case Manifest(_, reference):
                return str(reference)
            case _:
                return ""


def begin_record(flow: http.HTTPFlow, registry: Origin | None, endpoint: Endpoint) -> None:
    """Note what a request is about: from now on it is one that touched the cache."""
    flow.metadata[SUBJECT] = Subject(registry, endpoint)


def road_of(client: Client) -> Road:
    """How a client came."""
    if isinstance(client.proxy_mode, ReverseMode):
        return Road.MIRROR
    return Road.TRANSPARENT if isinstance(client.proxy_mode, TransparentMode) else Road.PROXY
