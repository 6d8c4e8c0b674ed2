"""Loading the settings: what options, the environment and files say, merged by precedence.

An option that is given (command line or mitmproxy's) wins over the environment, which wins over the
file, which wins over the default; a repeatable option is replaced whole, never added to. Only
``HTTPS_PROXY`` and ``NO_PROXY``, which were set for other programs as well, come after the file.
What another program's file says (``distribution_config`` reads it) counts where ours says nothing.
"""

import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from entrepot.config.no_proxy import parse_no_proxy
from entrepot.config.options import OPTIONS, Option, nearest
from entrepot.config.registry_tables import RegistryTable, Surroundings, is_exposed, read_registries
from entrepot.config.settings import Config, ConfigError, ConfigFile

Given: TypeAlias = Mapping[str, str | bool | Sequence[str]]
Values: TypeAlias = dict[str, Any]


def load_config(given: Given, environ: Mapping[str, str], home: Path, root: bool) -> Config:  # noqa: FBT001
    """Merge what was given, the environment, and the files that they name; or ConfigError.

    Options that were not given are absent from `given`, not empty. `~/` is `home`; `root` says
    where the data is by default.
    """
    config = _merge(given, environ, home, root=root)
    if config.registry_config is None:
        return config
    from entrepot.config.distribution_config import read_distribution_config  # noqa: PLC0415 and YAML

    file = read_distribution_config(config.registry_config, environ)
    return _merge(given, environ, home, root=root, below=file)


def _merge(
    given: Given,
    environ: Mapping[str, str],
    home: Path,
    *,
    root: bool,
    below: ConfigFile | None = None,
) -> Config:
    """The settings; what ``below`` says counts where nothing else does."""
    values: Values = {"data": _default_data(environ, home, root=root)}
    given_values = _read_all(given, OPTIONS, "the options")
    files = [] if below is None else [below]
    if (file := given_values.pop("config", None)) is not None:
        files.append(_read_toml(_expand(file, home)))
    tables: list[RegistryTable] = []
    for each in files:
        in_file, its_tables = _read_file(each, environ, home)
        values |= in_file
        said = {origin for table in its_tables for origin in table.origins}
        tables = [*(t for t in tables if said.isdisjoint(t.origins)), *its_tables]
    if data := environ.get("ENTREPOT_DATA"):
        values |= _read_all({"data": data}, OPTIONS, "ENTREPOT_DATA")
    values |= given_values
    values = _proxy_by_environment(environ, values) | values
    hosts = (host for table in tables for host in table.hosts)
    values["registry"] = tuple(dict.fromkeys((*values.get("registry", ()), *hosts)))
    values = {name: _expand(value, home) for name, value in values.items()}
    config = Config(**values, accounts=tuple(tables), unused=below.unused if below else ())
    _check_listeners(config)
    return config


def _check_listeners(config: Config) -> None:
    """Raise ConfigError where two listeners are to have one address."""
    if config.transparent == config.listen and config.listen.port:
        raise ConfigError(f"listen and transparent are both {config.listen}, want two ports")
    taken = [str(place) for place in (config.listen, config.transparent, *config.mirror)]
    for place in (str(mirror) for mirror in config.mirror if mirror.port):
        if taken.count(place) > 1:
            raise ConfigError(f"mirror: two are to listen on {place}, want an address for each")


def _read_file(
    file: ConfigFile, environ: Mapping[str, str], home: Path
) -> tuple[Values, list[RegistryTable]]:
    """The options of a file, and its tables of registries."""
    content, tables = dict(file.values), list[RegistryTable]()
    if isinstance(content.get("registry"), Mapping):
        around = Surroundings(environ, home, file.exposed)
        tables = _read_tables(content.pop("registry"), around, str(file.file))
    in_file = [option for option in OPTIONS if option.in_file]
    values = _read_all(content, in_file, str(file.file))
    if file.exposed:
        _demand_no_password(file.file, values)
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


def _read_toml(file: Path) -> ConfigFile:
    """What a TOML file says."""
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            return ConfigFile(file, tomllib.loads(opened.read().decode()), exposed)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not a TOML file: it is no UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not a TOML file: {error}") from error
