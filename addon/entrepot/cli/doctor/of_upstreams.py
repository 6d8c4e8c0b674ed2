"""The registries: that their names resolve, that they answer, by the way that the proxy takes."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from entrepot.cli.doctor.finding import Finding, ok, problem, warning
from entrepot.config.settings import Config
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.image_names import registry_name
from entrepot.protocol.messages import field_values
from entrepot.protocol.quirks import HUB

MOST = 10
_SECONDS = 10.0
_SLOW_SECONDS = 3.0
_PINGED = frozenset({200, 401})


@dataclass(frozen=True, slots=True)
class Answered:
    """What asking a registry came to; ``date`` is the time of day that it said."""

    finding: Finding
    date: str | None = None


def registries(config: Config) -> list[Origin]:
    """Those that are asked: Docker Hub, those of the settings and of the mirrors."""
    hub = [] if config.only_listed else [HUB]
    listed = [Origin("https", one.host, one.port or 443) for one in config.registry]
    mirrored = [one.registry for one in config.mirror if one.registry is not None]
    return list(dict.fromkeys([*hub, *mirrored, *listed]))[:MOST]


def check_names(config: Config, origins: list[Origin]) -> Iterator[Finding]:
    """Whether their names resolve; through an upstream proxy, whether its does."""
    known = {(one.host, one.port) for one in config.resolve}
    hosts = {one.host: one.port for one in origins if (one.host, one.port) not in known}
    if (proxy := config.upstream_proxy) is not None:
        hosts = {proxy.host: proxy.port}
    failed = [name for name in hosts if not _resolves(name)]
    for name in failed:
        said = f"{name} does not resolve"
        yield problem("DNS", said, "see /etc/resolv.conf; behind a company's proxy: HTTPS_PROXY")
    if not failed:
        yield ok("DNS", f"{len(hosts)} names resolve" if hosts else "all addresses are given")


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return True


def ask_registries(config: Config, origins: list[Origin]) -> list[Answered]:
    """Ask each, as the proxy would. Raises ValueError where its roots cannot be read."""
    client = HttpClient(
        Roots.find(config.upstream_ca),
        resolve=config.resolve,
        proxy=config.upstream_proxy,
        no_proxy=config.no_proxy,
        connect_seconds=config.connect_timeout,
        read_seconds=_SECONDS,
    )
    try:
        with ThreadPoolExecutor(MOST) as threads:
            return list(threads.map(lambda origin: _ask(client, origin), origins))
    finally:
        client.close()


def _ask(client: HttpClient, origin: Origin) -> Answered:
    name, began = registry_name(origin), time.monotonic()
    try:
        options = SendOptions(Follow.NO, seconds=_SECONDS, observed=False)
        reply = client.send("GET", Target(origin, "/v2/"), (), options)
        reply.close()
    except UpstreamError as error:
        fix = "can this machine reach it? is a proxy needed (--upstream-proxy), or its CA"
        return Answered(problem("registries", str(error), f"{fix} (--upstream-ca)?"))
    seconds = time.monotonic() - began
    date = next(iter(field_values(reply.headers, "date")), None)
    if reply.status not in _PINGED:
        fix = "if it is a registry, it is in trouble: see its operator's status page"
        return Answered(problem("registries", f"{name} answers {reply.status}", fix), date)
    said = f"{name} answers in {seconds * 1000:.0f} ms"
    if seconds > _SLOW_SECONDS:
        return Answered(warning("registries", said, "look at the way there"), date)
    return Answered(ok("registries", said), date)
