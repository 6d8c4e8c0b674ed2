"""The composition of a running proxy: each part is made here, of what it uses.

From the ground up, as the folders are: the foundation on disk; who may come and where connections
may lead; the context of every answer (the HTTP client and gateway to upstream, the store, what was
granted, single flight); pulls, with stale answers while upstream is away; which hosts are
intercepted; pings, tokens, mirrors and own pages; the recorder, maintenance and the administrator's
page beside them all.
"""

import asyncio
import secrets
import time
from importlib import metadata

from entrepot.admin.admin_site import AdminSite
from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.authority_watch import AuthorityWatch
from entrepot.app.clock import steady
from entrepot.app.foundation import Foundation
from entrepot.app.page.live_status import status_request
from entrepot.app.page.page_sources import page_sources
from entrepot.auth.client_allowlist import ClientAllowlist
from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.config.networks import Recorded
from entrepot.config.settings import Config
from entrepot.config.units import size_text
from entrepot.control.administration import Administration
from entrepot.control.control_socket import ControlSocket
from entrepot.endpoints.account_requests import AccountRequests
from entrepot.endpoints.health.readiness import Readiness
from entrepot.endpoints.health.untrusting_clients import described
from entrepot.endpoints.login_requests import LoginRequests
from entrepot.endpoints.mirror import Mirrors
from entrepot.endpoints.own_pages import Pages
from entrepot.events.table import Event
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.own_addresses import Listeners
from entrepot.http_client.connect.ssrf_guard import Destinations
from entrepot.maintenance.eviction_log import EvictionLog
from entrepot.maintenance.housekeeping import Housekeeping
from entrepot.maintenance.scrubber import Scrubber
from entrepot.metrics.engine_samples import Build, Clients
from entrepot.metrics.metrics import Metrics, Sources
from entrepot.metrics.request_tallies import RequestTallies
from entrepot.observe.access_log import AccessLog
from entrepot.observe.record_store import RecordStore
from entrepot.observe.recorder import Recorder, Writer
from entrepot.observe.retention import Retention
from entrepot.pull.cache import Cache
from entrepot.pull.stale import StaleIfError
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.registry_hosts import RegistryHosts


class Engine:
    """The parts of one proxy, running from when they are made until they are closed.

    To be made in the event loop that they run in; ``mitm`` asks them.
    """

    def __init__(self, foundation: Foundation) -> None:
        config, events = foundation.config, foundation.events
        self.foundation = foundation
        self.events = events
        self.authority = AuthorityInUse(config.data / "ca", foundation.standing, events, time.time)
        # Who may come, and where connections may lead
        self.admission = ClientAllowlist(config.allow_client, events)
        self.destinations = _destinations(config)
        # The way to upstream, and what each answer takes
        self.proxy = config.upstream_proxy
        self.via = f"1.1 entrepot-{secrets.token_hex(8)}"
        """What the upstream proxy is told, by which a loop is known (RFC 9110 section 7.6.3)."""
        upstream = _http_client(foundation, self.destinations, self.via)
        self.context = context = _context(foundation, upstream)
        # Pulls
        stale = StaleIfError(context, config.max_stale, config.offline_private)
        self.cache = Cache(context, stale)
        # Which hosts are intercepted
        realms = Realms()
        self.hosts = RegistryHosts(context, listed=config.registry, only_listed=config.only_listed)
        self.interception = Interception(
            context.health, context.clock, realms, self.hosts, events, self.authority.permits
        )
        # The other endpoints
        accounts = foundation.accounts
        self.account_requests = AccountRequests(context, accounts, realms, self.interception)
        self.logins = LoginRequests(
            context, realms, self.hosts, stale.without_token, self.account_requests
        )
        self.mirrors = Mirrors(context, self.cache, self.hosts, config.mirror, accounts)
        self.readiness = Readiness(context.store_thread, context.clock)
        # What is known of all that
        requests = RequestTallies()
        self.recorder = _recorder(foundation, requests)
        self.metrics = Metrics(requests, self._metrics_sources())
        self.pages = Pages(
            lambda: self.authority.announcement,
            lambda: dict(events.counts),
            context.gateway.upstreams,
            self.readiness,
            context.wall,
            lambda: described(self.interception.untrusting_clients(), context.wall()),
            self.authority.described,
            config.mirror,
            self.metrics.page,
        )
        # Maintenance, and what the administrator asks
        self._housekeeping = Housekeeping(context.store_thread, context.events)
        self._authority_watch = AuthorityWatch(
            self.authority,
            config.data,
            events,
            context.clock,
            keep_addresses=config.record is Recorded.CLIENTS,
        )
        administration = Administration(
            context.store,
            context.store_thread.run_from_thread,
            events,
            self.authority.refreshed,
            proxy=config.listen.own_url,
        )
        administration.offer("status", status_request(self))
        self.proxy_port: int | None = None
        """Where clients of the forward proxy come, once it listens."""
        self.site = AdminSite(page_sources(self, administration))
        self._control = ControlSocket(context.store.folder, administration, events)
        self._eviction_log = EvictionLog(context.store.evicted, events)
        self._scrubber = (
            Scrubber(context.store_thread, context.events, context.wall, config.scrub)
            if config.scrub
            else None
        )
        self._start()

    def _metrics_sources(self) -> Sources:
        build = Build(_version("entrepot"), _version("mitmproxy"), self.foundation.store.limit)
        return Sources(
            build,
            self.context,
            self.cache,
            self.readiness,
            self._authority_expiry,
            self._count_clients,
        )

    def _authority_expiry(self) -> float:
        return self.authority.standing.authority.expires.timestamp()

    def _count_clients(self) -> Clients:
        authority = self.authority
        waiting, _ = authority.standing.waiting(authority.clients, self.context.wall())
        return Clients(len(self.interception.untrusting_clients()), len(waiting))

    def _start(self) -> None:
        _log_what_was_read(self.foundation)
        self.recorder.start()
        self._housekeeping.start()
        self._eviction_log.start()
        self._authority_watch.start()
        self._control.start()
        if self._scrubber is not None:
            self._scrubber.start()

    async def close(self) -> None:
        """Stop downloads and threads, and close the store."""
        await asyncio.to_thread(self.site.stop)
        self._control.stop()
        self._housekeeping.stop()
        self._authority_watch.stop()
        if self._scrubber is not None:
            self._scrubber.stop()
        await self.cache.close()
        self._eviction_log.stop()
        await asyncio.to_thread(self.recorder.stop)
        self.foundation.store.close()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _recorder(foundation: Foundation, metrics: Writer) -> Recorder:
    """Who takes the records of requests: the metrics, and who else as the administrator decided."""
    config, events = foundation.config, foundation.events
    writers = [metrics]
    if config.record is not Recorded.NONE:
        retention = Retention(config.record_keep, config.record_size)
        writers.append(RecordStore(config.data, events, retention, clock=steady, wall=time.time))
    if config.access_log:
        writers.append(AccessLog(events))
    return Recorder(writers, events)


def _destinations(config: Config) -> Destinations:
    """The rules of where a connection may lead; above all not back to where clients come in."""
    mirrored = [mirror.registry for mirror in config.mirror if mirror.registry is not None]
    destinations = Destinations(
        steady, listed=config.registry, resolve=config.resolve, mirrored=mirrored
    )
    places = (config.listen, config.transparent, config.admin, *config.mirror)
    destinations.listeners = Listeners((p.host, p.port) for p in places if p and p.port)
    return destinations


def _http_client(foundation: Foundation, destinations: Destinations, via: str) -> HttpClient:
    config = foundation.config
    return HttpClient(
        foundation.roots,
        resolve=config.resolve,
        proxy=config.upstream_proxy,
        no_proxy=config.no_proxy,
        via=via,
        connect_seconds=config.connect_timeout,
        destinations=destinations,
    )


def _context(foundation: Foundation, upstream: HttpClient) -> Context:
    config = foundation.config
    return Context.make(
        foundation.store,
        upstream,
        Access(secrets.token_bytes(32)),
        foundation.events,
        steady,
        time.time,
        answer_seconds=config.answer_timeout,
        offline=config.offline,
        completes=config.completes,
    )


def _log_what_was_read(foundation: Foundation) -> None:
    """Say what an administrator should know of the configuration."""
    config, events = foundation.config, foundation.events
    if config.registry_config is not None:
        unused = ",".join(config.unused)
        events.log(Event.REGISTRY_CONFIG_READ, file=config.registry_config, unused=unused)
    if (proxy := config.upstream_proxy) is not None:
        events.log(
            Event.UPSTREAM_PROXY_USED,
            proxy=proxy.url,
            variable="HTTPS_PROXY" if proxy.by_environment else None,
            no_proxy=",".join(map(str, config.no_proxy)) or None,
        )
    _log_disk(foundation)


def _log_disk(foundation: Foundation) -> None:
    """Say where the limit cannot be had on the disk, and what to do."""
    store, room = foundation.store, foundation.store.room
    if store.limit <= room.attainable:
        return
    smaller = room.attainable * 9 // 10  # what else is on the disk grows, too
    foundation.events.log(
        Event.DISK_OVERBOOKED,
        data=foundation.config.data,
        limit=size_text(store.limit),
        attainable=size_text(room.attainable),
        free=size_text(room.free),
        reserve=size_text(room.reserve),
        hint=f"--size {size_text(smaller)}, or more room on that disk, or --data on another",
    )
