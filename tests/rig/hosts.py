"""The rig of discovery: a host that may be a registry, and what decides what it is."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import HostPort, Origin
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.probes import ProbeBounds
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from rig.faults import Exchange, Gate

NAME = "registry.example.test"
ORIGIN = Origin("https", NAME, 443)
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
BEARER = {"WWW-Authenticate": 'Bearer realm="https://auth.example.test/token",service="a"'}
CLIENT = "10.0.0.5"
AUTH = Origin("https", "auth.example.test", 443)
SLOW = [f"slow-{number}.example.test" for number in range(4)]
UNREACHABLE = [
    ("docker.io", 443),
    ("docker.io.evil.test", 443),
    ("evil-docker.io", 443),
    ("notghcr.io", 443),
    ("ghcr.io", 8443),
    ("a.b.gcr.io", 443),
    ("evil.pkg.dev", 443),
    ("a.azurecr.io.evil.test", 443),
    ("12345.dkr.ecr.eu-west-1.amazonaws.com", 443),
    ("s3.amazonaws.com", 443),
    ("production.cloudflare.docker.com", 443),
    ("www.docker.com", 443),
    ("github.com", 443),
    ("registryxk8s.io", 443),
]
HEADER = [BEARER["WWW-Authenticate"]]


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1e9

    def __call__(self) -> float:
        return self.now


@dataclass
class Setting:
    """What decides of hosts, and what it works with."""

    hosts: RegistryHosts
    interception: Interception
    realms: Realms
    clock: Clock
    events: Events


@contextmanager
def setting(
    folder: Path,
    upstream: HttpClient,
    *listed: str,
    only_listed: bool = False,
    permit: str = "",
    clock: Clock | None = None,
    bounds: ProbeBounds | None = None,
) -> Iterator[Setting]:
    clock = clock or Clock()
    events, realms = Events(), Realms()
    with (
        closing(Store(folder, 10**7, clock)) as store,
        closing(Context.make(store, upstream, Access(b"x"), events, clock)) as context,
    ):
        hosts = RegistryHosts(
            context,
            listed=tuple(HostPort.parse(text) for text in listed),
            only_listed=only_listed,
            bounds=bounds,
        )
        interception = Interception(
            context.health, context.clock, realms, hosts, events, lambda host: host.endswith(permit)
        )
        yield Setting(hosts, interception, realms, clock, events)


def send(it: Setting, registry: Origin = ORIGIN, client: str = CLIENT) -> None:
    """Let a client be sent to AUTH by a registry."""
    it.realms.challenged(registry, HEADER)
    it.interception.sent(client, registry, HEADER)


def no_http(exchange: Exchange) -> None:
    """Answer as a server of HTTP/2 does (RFC 9113 section 3.4), which then gives up."""
    exchange.raw(b"\0\0\0\4\0\0\0\0\0")
    exchange.hang_up()


class Unauthorized:
    """A challenge whose body waits for a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, exchange: Exchange) -> None:
        exchange.start(401, {"Content-Length": "100", **BEARER})
        exchange.write(bytes(self._gate.take(100)))
