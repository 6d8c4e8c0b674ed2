"""The settings: what the administrator decided, once everything that says something is merged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy
from entrepot.config.mirror_spec import Mirror
from entrepot.config.networks import Network, Recorded
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.config.options import Fill
from entrepot.config.registry_tables import RegistryTable
from entrepot.events.lines import LogFormat
from entrepot.protocol.identifiers import HostPort, Origin

_LISTEN = Listen("", 3128)


class ConfigError(ValueError):
    """A configuration that cannot be used, said in one line without secrets."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What one file says: ``values`` in the shape of our TOML, with passwords.

    ``exposed``: others than its owner can read it. ``unused`` are its keys that mean nothing here.
    """

    file: Path
    values: Mapping[str, object] = field(repr=False)
    exposed: bool = False
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the administrator decided; the names are those of the options.

    `size` is in bytes, None to choose at first start; times are in seconds, `scrub` 0 for never,
    `max_stale` 0 for no stale tag at all, `drain` 0 for a stop at once. `accounts` are the tables
    of `registry`, whose hosts are in `registry` too. `unused` are the keys of `registry_config`
    that mean nothing here.
    """

    data: Path
    listen: Listen = _LISTEN
    transparent: Listen | None = None
    mirror: tuple[Mirror, ...] = ()
    size: int | None = None
    scrub: float = 30 * 86400.0
    idle: float = 300.0
    drain: float = 10.0
    connect_timeout: float = 3.0
    answer_timeout: float = 5.0
    max_stale: float = 30 * 86400.0
    offline: bool = False
    offline_private: tuple[Network, ...] = ()
    no_keep_pushed: bool = False
    fill: Fill = Fill.WHOLE
    upstream_ca: Path | None = None
    resolve: tuple[Resolve, ...] = ()
    upstream_proxy: UpstreamProxy | None = None
    no_proxy: tuple[NoProxyEntry, ...] = ()
    registry: tuple[HostPort, ...] = ()
    accounts: tuple[RegistryTable, ...] = ()
    docker_config: Path | None = None
    registry_config: Path | None = None
    unused: tuple[str, ...] = ()
    only_listed: bool = False
    allow_client: tuple[Network, ...] = ()
    proxyauth: str | None = field(default=None, repr=False)
    record: Recorded = Recorded.CLIENTS
    record_keep: float = 30 * 86400.0
    record_size: int = 256 * 1024**2
    log_format: LogFormat = LogFormat.TEXT
    access_log: bool = False
    admin: Listen | None = None
    admin_allow: tuple[Network, ...] = ()
    admin_host: tuple[str, ...] = ()
    admin_closed: bool = False
    admin_token: str | None = field(default=None, repr=False)
    permit: tuple[str, ...] = ()

    def completes(self, origin: Origin) -> bool:
        """Whether of a registry's blobs the rest is fetched where clients ask for parts."""
        said = (table.fill for table in self.accounts if origin in table.origins)
        return next((fill for fill in said if fill is not None), self.fill) is Fill.WHOLE
