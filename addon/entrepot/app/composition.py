"""Everything that one running proxy consists of, put together from a configuration."""

import contextlib
import ctypes
import os
import resource
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from entrepot.auth.accounts import Accounts
from entrepot.auth.client_allowlist import ClientAllowlist
from entrepot.auth.credential_helper import CredentialHelper
from entrepot.auth.docker_config import DockerConfig, read_docker_config
from entrepot.auth.grants import Access
from entrepot.auth.token_servers import Realms
from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.registry_tables import exposed_files
from entrepot.config.settings import Config
from entrepot.endpoints.account_requests import Behalf
from entrepot.endpoints.mirror import Mirrors
from entrepot.endpoints.own_pages import Pages
from entrepot.endpoints.ping_and_token import Logins
from entrepot.events.log import Events, log_to_stderr
from entrepot.events.table import Event
from entrepot.http_client.client import Upstream
from entrepot.http_client.connect.own_addresses import Listeners, is_itself
from entrepot.http_client.connect.ssrf_guard import Destinations
from entrepot.http_client.connect.trust_store import Roots
from entrepot.maintenance.housekeeping import Upkeep
from entrepot.maintenance.scrubber import Scrubber
from entrepot.protocol.messages import CHUNK
from entrepot.pull.cache import Cache
from entrepot.pull.stale import Outage
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from entrepot.upstream.discovery.interception import Interception
from entrepot.upstream.discovery.registry_hosts import RegistryHosts
from entrepot_ca import Authority, AuthorityError, ensure

WARN_DAYS = 30


class StartError(Exception):
    """The proxy cannot start; the text is one line for the administrator."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """What exists before an event loop does: the folder, the store, the authority, the roots."""

    config: Config
    events: Events
    store: Store
    authority: Authority
    roots: Roots
    bundle: Path
    """A file of all roots, for mitmproxy's own connections."""
    accounts: Accounts

    @classmethod
    def lay(cls, config: Config) -> Self:
        """Open or create it all. Raises :class:`StartError`."""
        os.umask(0o077)
        _allow_many_files()
        events = Events()
        log_to_stderr()
        _reuse_memory()
        config = _past_itself(config, events)
        _check_mirrors(config)
        try:
            roots = Roots.find(config.upstream_ca)
            store = Store(config.data, config.size, events=events)
            authority, _ = ensure(config.data / "ca", permit=config.permit, now=datetime.now(UTC))
            bundle = config.data / "upstream-ca.pem"
            bundle.write_bytes(roots.pem())
            accounts = _find_accounts(config, events)
        except OSError as error:
            raise StartError(f"cannot start: {storage_reason(error)}") from error
        except (ValueError, StoreError, AuthorityError) as error:
            raise StartError(str(error)) from error
        return cls(config, events, store, authority, roots, bundle, accounts)


class Engine:
    """The running parts; belongs to one event loop."""

    def __init__(self, foundation: Foundation) -> None:
        config = foundation.config
        self.foundation = foundation
        self.events = foundation.events
        self.proxy = config.upstream_proxy
        self.via = f"1.1 entrepot-{secrets.token_hex(8)}"
        """What the upstream proxy is told, by which a loop is known (RFC 9110 section 7.6.3)."""
        if config.registry_config is not None:
            unused = ",".join(config.unused)
            self.events.log(Event.REGISTRY_CONFIG_READ, file=config.registry_config, unused=unused)
        mirrored = [mirror.registry for mirror in config.mirror if mirror.registry is not None]
        self.destinations = Destinations(
            _steady, listed=config.registry, resolve=config.resolve, mirrored=mirrored
        )
        places = (config.listen, config.transparent, *config.mirror)
        self.destinations.listeners = Listeners((p.host, p.port) for p in places if p and p.port)
        upstream = Upstream(
            foundation.roots,
            resolve=config.resolve,
            proxy=self.proxy,
            no_proxy=config.no_proxy,
            via=self.via,
            connect_seconds=config.connect_timeout,
            destinations=self.destinations,
        )
        self.accounts = foundation.accounts
        self.admission = ClientAllowlist(config.allow_client, self.events)
        access, realms = Access(secrets.token_bytes(32)), Realms()
        self.context = context = Context.make(
            foundation.store,
            upstream,
            access,
            self.events,
            _steady,
            time.time,
            answer_seconds=config.answer_timeout,
            offline=config.offline,
        )
        outage = Outage(context, config.max_stale, config.offline_private)
        self._upkeep = Upkeep(context)
        self._scrubber = Scrubber(context, config.scrub) if config.scrub else None
        self.cache = Cache(context, outage)
        self.hosts = RegistryHosts(context, listed=config.registry, only_listed=config.only_listed)
        self.interception = Interception(context, realms, self.hosts, foundation.authority.permits)
        self.behalf = Behalf(context, self.accounts, realms, self.interception)
        self.logins = Logins(context, realms, self.hosts, outage, self.behalf)
        self.mirrors = Mirrors(context, self.cache, self.hosts, config.mirror, self.accounts)
        self.pages = Pages(
            foundation.authority.certificate_pem,
            lambda: dict(self.events.counts),
            context.gateway.upstreams,
        )
        self._upkeep.start()
        if self._scrubber is not None:
            self._scrubber.start()
        if foundation.authority.expires_within(datetime.now(UTC), WARN_DAYS):
            self.events.log(
                Event.AUTHORITY_EXPIRES,
                expires=foundation.authority.expires.isoformat(),
                hint="entrepot ca create --force",
            )

    async def close(self) -> None:
        """Stop downloads and threads, and close the store."""
        self._upkeep.stop()
        if self._scrubber is not None:
            self._scrubber.stop()
        await self.cache.close()
        self.foundation.store.close()


def _find_accounts(config: Config, events: Events) -> Accounts:
    """The accounts of the configuration and of docker's. Raises ValueError."""
    for file in exposed_files(config.accounts):
        events.log(
            Event.PASSWORD_READABLE,
            file=file,
            reason="others can read it",
            hint=f"chmod 600 {file}",
        )

    def make_helper(name: str, server: str) -> CredentialHelper:
        return CredentialHelper(name, server, events, _steady)

    docker = DockerConfig()
    if config.docker_config is not None:
        docker = read_docker_config(config.docker_config, make_helper)
    for key in docker.skipped:
        events.log(Event.DOCKER_CONFIG_SKIPPED, file=config.docker_config, key=key)
    return Accounts(config.accounts, docker.found)


def _past_itself(config: Config, events: Events) -> Config:
    """Leave out an upstream proxy that is this one, as a machine's own clients may be told of.

    Raises :class:`StartError` where it was given on purpose.
    """
    proxy = config.upstream_proxy
    if proxy is None or not is_itself(proxy, config.listen):
        return config
    if not proxy.by_environment:
        raise StartError(f"upstream_proxy {proxy.url} is this proxy itself")
    events.log(Event.PROXY_IGNORED, variable="HTTPS_PROXY", reason="it is this proxy itself")
    return replace(config, upstream_proxy=None)


def _check_mirrors(config: Config) -> None:
    """Raise :class:`StartError` where a mirror is one of the proxy itself, which would go round."""
    places: tuple[Listen | Mirror, ...] = (config.listen, *config.mirror)
    for mirror in config.mirror:
        registry = mirror.registry
        if registry is not None and any(is_itself(registry, place) for place in places):
            raise StartError(f"mirror {mirror}: its registry {registry} is this proxy itself")


def _steady() -> float:
    """Seconds that go on whatever becomes of the time of day, and through a suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _allow_many_files() -> None:
    """Raise the soft limit of open files: a transfer holds two, a client connection one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _reuse_memory() -> None:
    """Let malloc keep a few freed chunks of transfers, in one place for all threads.

    It would give each back to the kernel and get it anew, a page fault at a time, and keep some
    for each thread that ever was. The parameters are M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and
    M_ARENA_MAX of glibc; other libraries have none.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 4 * CHUNK)
        mallopt(-3, 4 * CHUNK)
        mallopt(-8, 1)
