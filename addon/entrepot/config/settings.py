"""The configuration: what the command line, mitmproxy, the environment and files say, merged.

A value that is given (command line or mitmproxy option) wins over the environment, which wins over
the file, which wins over the default; a repeatable option is replaced whole, never added to. Only
``HTTPS_PROXY`` and ``NO_PROXY``, which were set for other programs as well, come after the file.
What another program's file says (`registry_config.py` reads it) counts where ours says nothing.
"""

import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy
from entrepot.config.mirror_spec import Mirror
from entrepot.config.networks import Network
from entrepot.config.no_proxy import Bypass, parse_no_proxy
from entrepot.config.options import OPTIONS, Option
from entrepot.config.registry_tables import RegistryTable, Surroundings, is_exposed, read_registries
from entrepot.config.suggestions import nearest
from entrepot.protocol.identifiers import HostPort

Given: TypeAlias = Mapping[str, str | bool | Sequence[str]]
Values: TypeAlias = dict[str, Any]

_LISTEN = Listen("", 3128)


class ConfigError(ValueError):
    """A configuration that cannot be used, said in one line without secrets."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file says: ``values`` in the shape of our TOML, with passwords.

    ``exposed``: others than its owner can read it. ``unused`` are its keys that mean nothing here.
    """

    file: Path
    values: Mapping[str, object] = field(repr=False)
    exposed: bool = False
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the administrator decided.

    `size` is in bytes, None to choose at first start; times are in seconds, `scrub` 0 for never,
    `max_stale` 0 for no stale tag at all. `accounts` are the tables of `registry`, whose hosts are
    in `registry` too. `unused` are the keys of `registry_config` that mean nothing here.
    """

    data: Path
    listen: Listen = _LISTEN
    transparent: Listen | None = None
    mirror: tuple[Mirror, ...] = ()
    size: int | None = None
    scrub: float = 30 * 86400.0
    idle: float = 300.0
    connect_timeout: float = 3.0
    answer_timeout: float = 5.0
    max_stale: float = 30 * 86400.0
    offline: bool = False
    offline_private: tuple[Network, ...] = ()
    no_keep_pushed: bool = False
    upstream_ca: Path | None = None
    resolve: tuple[Resolve, ...] = ()
    upstream_proxy: UpstreamProxy | None = None
    no_proxy: tuple[Bypass, ...] = ()
    registry: tuple[HostPort, ...] = ()
    accounts: tuple[RegistryTable, ...] = ()
    docker_config: Path | None = None
    registry_config: Path | None = None
    unused: tuple[str, ...] = ()
    only_listed: bool = False
    allow_client: tuple[Network, ...] = ()
    proxyauth: str | None = field(default=None, repr=False)
    permit: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        given: Given,
        environ: Mapping[str, str],
        home: Path,
        root: bool,  # noqa: FBT001
        below: Layer | None = None,
    ) -> Self:
        """Merge what was given, the environment and the file that `given` names; or ConfigError.

        Options that were not given are absent from `given`, not empty. `~/` is `home`. What
        `below` says counts where nothing else does.
        """
        values: Values = {"data": _default_data(environ, home, root=root)}
        given_values = _read_all(given, OPTIONS, "the options")
        layers = [] if below is None else [below]
        if (file := given_values.pop("config", None)) is not None:
            layers.append(_read_file(_expand(file, home)))
        tables: list[RegistryTable] = []
        for layer in layers:
            in_layer, its_tables = _read_layer(layer, environ, home)
            values |= in_layer
            said = {origin for table in its_tables for origin in table.origins}
            tables = [*(t for t in tables if said.isdisjoint(t.origins)), *its_tables]
        if data := environ.get("ENTREPOT_DATA"):
            values |= _read_all({"data": data}, OPTIONS, "ENTREPOT_DATA")
        values |= given_values
        values = _proxy_by_environment(environ, values) | values
        hosts = (host for table in tables for host in table.hosts)
        values["registry"] = tuple(dict.fromkeys((*values.get("registry", ()), *hosts)))
        values = {name: _expand(value, home) for name, value in values.items()}
        config = cls(**values, accounts=tuple(tables), unused=below.unused if below else ())
        if config.transparent == config.listen and config.listen.port:
            raise ConfigError(f"listen and transparent are both {config.listen}, want two ports")
        config._check_places()
        return config

    def _check_places(self) -> None:
        taken = [str(place) for place in (self.listen, self.transparent, *self.mirror)]
        for place in (str(mirror) for mirror in self.mirror if mirror.port):
            if taken.count(place) > 1:
                raise ConfigError(f"mirror: two are to listen on {place}, want an address for each")


def _read_layer(
    layer: Layer, environ: Mapping[str, str], home: Path
) -> tuple[Values, list[RegistryTable]]:
    """The options of a file, and its tables of registries."""
    content, tables = dict(layer.values), list[RegistryTable]()
    if isinstance(content.get("registry"), Mapping):
        around = Surroundings(environ, home, layer.exposed)
        tables = _read_tables(content.pop("registry"), around, str(layer.file))
    in_file = [option for option in OPTIONS if option.in_file]
    values = _read_all(content, in_file, str(layer.file))
    if layer.exposed:
        _demand_no_password(layer.file, values)
    return values, tables


def _default_data(environ: Mapping[str, str], home: Path, *, root: bool) -> Path:
    if root:
        return Path("/var/lib/entrepot")
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    # The XDG base directory specification has relative paths ignored.
    return (shared if shared.is_absolute() else home / ".local/share") / "entrepot"


def _proxy_by_environment(environ: Mapping[str, str], chosen: Collection[str]) -> Values:
    """What the variables that every program knows say; the upper-case ones first, as Go does."""
    values: Values = {"no_proxy": parse_no_proxy(_first(environ, "NO_PROXY", "no_proxy"))}
    url = _first(environ, "HTTPS_PROXY", "https_proxy")
    if url and "upstream_proxy" not in chosen:
        url = url if "://" in url else f"http://{url}"
        values |= _read_all({"upstream_proxy": url}, OPTIONS, "HTTPS_PROXY")
        values["upstream_proxy"] = replace(values["upstream_proxy"], by_environment=True)
    return values


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _demand_no_password(file: Path, values: Values) -> None:
    """Refuse a file that others can read and that holds a password."""
    proxy, own = values.get("upstream_proxy"), values.get("proxyauth") or ""
    held = {
        "upstream_proxy": proxy is not None and bool(proxy.password),
        "proxyauth": ":" in own and not own.startswith("@"),
    }
    for name in (name for name, holds in held.items() if holds):
        raise ConfigError(
            f"{file} holds the password of {name} and others can read it: chmod 600 {file}"
        )


def _expand(value: Any, home: Path) -> Any:
    if isinstance(value, Path) and value.parts[:1] == ("~",):
        return home.joinpath(*value.parts[1:])
    return value


def _read_all(source: Mapping[str, object], options: Collection[Option], where: str) -> Values:
    known = {option.name: option for option in options}
    values: Values = {}
    for name, value in source.items():
        if name not in known:
            raise ConfigError(f"{where}: unknown option {name!r}, {nearest(name, known)}")
        try:
            values[name] = known[name].read(value)
        except ValueError as error:
            raise ConfigError(f"{where}: {name}: {error}") from None
    return values


def _read_tables(tables: Any, around: Surroundings, where: str) -> list[RegistryTable]:
    try:
        return read_registries(tables, around)
    except ValueError as error:
        raise ConfigError(f"{where}: registry: {error}") from None


def _read_file(file: Path) -> Layer:
    """What a TOML file says."""
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            return Layer(file, tomllib.loads(opened.read().decode()), exposed)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not a TOML file: it is no UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not a TOML file: {error}") from error
