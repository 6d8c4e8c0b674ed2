"""A `config.yml` of the `registry:2` image that runs as a pull-through cache, for who switches.

What of it means something here becomes what our own file would say; the rest is named in the log.
The environment overrides the file as it does there (`REGISTRY_PROXY_REMOTEURL` for
`proxy.remoteurl`). Key names: CNCF distribution, "Configuring a registry".

Two sections are refused, because a proxy without them is not what the file describes: `auth`,
since anybody could then pull with the account, and `http.tls`, since every client would fail.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import TypeAlias

from entrepot.config.addresses import Listen
from entrepot.config.registry_tables import is_exposed
from entrepot.config.settings import ConfigError, ConfigFile
from entrepot.config.strict_yaml import LARGEST, Plain, read
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirks import configured_name

Section: TypeAlias = Mapping[str, Plain]

DEFAULT_ADDRESS = ":5000"
DEFAULT_ROOT = "/var/lib/registry"
OWN_FOLDER = "entrepot"
"""Below the root, beside distribution's own `docker/`, which stays as it is."""

_REMOTE = ("proxy", "remoteurl")
_USERNAME = ("proxy", "username")
_PASSWORD = ("proxy", "password")
_ADDRESS = ("http", "addr")
_NET = ("http", "net")
_ROOT = ("storage", "filesystem", "rootdirectory")
_VERSION = ("version",)
_USED = (_REMOTE, _USERNAME, _PASSWORD, _ADDRESS, _NET, _ROOT, _VERSION)
_OVERRIDDEN = (_REMOTE, _USERNAME, _PASSWORD, _ADDRESS, _ROOT)
_SECTIONS = (
    *("version", "log", "loglevel", "storage", "middleware", "http", "notifications", "redis"),
    *("health", "proxy", "compatibility", "validation", "policy", "catalog", "reporting"),
)
# distribution takes what follows a last slash for a file name, which "v2/" replaces.
_URL = re.compile(r"(https?://[^/?#@]+)(?:/v2)?/?", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def read_distribution_config(file: Path, environ: Mapping[str, str]) -> ConfigFile:
    """Read a file and what overrides it. Raises ConfigError, one line without secrets."""
    text, exposed = _read_text(file)
    try:
        keys = _Keys(_section("the file", read(text)), environ)
        values = _values(keys)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    if exposed and keys.in_file(_PASSWORD):
        todo = f"chmod 600 {quote(str(file))}"
        raise ConfigError(f"{file} holds a password and others can read it: {todo}")
    return ConfigFile(file, values, unused=tuple(dict.fromkeys(keys.unused())))


class _Keys:
    """The keys of a file, those of the environment before them."""

    def __init__(self, root: Section, environ: Mapping[str, str]) -> None:
        self._root = {key: _long(key, value) for key, value in root.items()}
        self._environ = {
            name: value for name, value in environ.items() if name.startswith("REGISTRY_")
        }

    def text(self, path: tuple[str, ...]) -> str:
        """The text at a path, empty where there is none."""
        variable = _variable(path)
        if path in _OVERRIDDEN and variable in self._environ:
            return self._environ[variable]
        return self.in_file(path)

    def in_file(self, path: tuple[str, ...]) -> str:
        value = self.value(path)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _mistyped(".".join(path), "text", value)
        return value

    def value(self, path: tuple[str, ...]) -> Plain:
        value: Plain = self._root
        for depth, key in enumerate(path):
            value = _section(".".join(path[:depth]), value).get(key)
        return value

    def overrides(self, section: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Variables that say something of a section or below it."""
        name = _variable(section)
        for variable, value in self._environ.items():
            if value and (variable == name or variable.startswith(f"{name}_")):
                yield variable, value

    def unused(self) -> Iterator[str]:
        """What has no meaning here: keys of the file, variables of the environment."""
        yield from _unused(self._root, ())
        used = {_variable(path) for path in _OVERRIDDEN}
        for section in _SECTIONS:
            yield from (name for name, _ in self.overrides((section,)) if name not in used)


def _long(key: str, value: Plain) -> Plain:
    """Read `storage: inmemory` as it is meant: a section of that name without keys."""
    return {value: None} if key in {"storage", "auth"} and isinstance(value, str) else value


def _variable(path: tuple[str, ...]) -> str:
    return "_".join(("registry", *path)).upper()


def _values(keys: _Keys) -> dict[str, object]:
    if (version := keys.text(_VERSION)) not in {"", "0.1"}:
        raise ValueError(f"version: expected 0.1, got {version[:20]!r}")
    _refuse_auth(keys)
    _refuse_tls(keys)
    if (net := keys.text(_NET)) not in {"", "tcp"}:
        raise ValueError(f"http.net: expected tcp, got {net[:20]!r}")
    registry = _registry(keys.text(_REMOTE))
    values: dict[str, object] = {"mirror": f"{_address(keys.text(_ADDRESS))}={registry}"}
    if root := _storage_root(keys):
        values["data"] = str(Path(root, OWN_FOLDER))
    username, password = keys.text(_USERNAME), keys.text(_PASSWORD)
    if bool(username) != bool(password):
        raise ValueError("proxy: expected both username and password, or neither")
    if username:
        values["registry"] = {registry: {"username": username, "password": password}}
    return values


def _refuse_auth(keys: _Keys) -> None:
    kinds = list(_section("auth", keys.value(("auth",))))
    kinds += [value for _, value in keys.overrides(("auth",))]
    if any(kind.lower() != "none" for kind in kinds):
        raise ValueError(
            "auth: clients cannot be asked to log in here, so everybody could pull what the file "
            "protects; remove that section, and choose the clients by --allow-client"
        )


def _refuse_tls(keys: _Keys) -> None:
    if _says_something(keys.value(("http", "tls"))) or any(keys.overrides(("http", "tls"))):
        raise ValueError(
            "http.tls: the mirror speaks plain HTTP; remove that section and name it with http:// "
            "at the clients, or put a server with TLS in front of it"
        )


def _says_something(value: Plain) -> bool:
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    return any(map(_says_something, value)) if isinstance(value, list) else bool(value)


def _registry(remote: str) -> str:
    """Name the registry as our own options do: `docker.io`, `HOST[:PORT]`, `http://HOST[:PORT]`."""
    if not remote:
        raise ValueError(
            "proxy.remoteurl is not set: this is the file of a registry, not of a pull-through "
            "cache, and a cache is what entrepot is"
        )
    match = _URL.fullmatch(remote)
    if match is None:
        login = ", the login in proxy.username and proxy.password" if "@" in remote else ""
        raise ValueError(f"proxy.remoteurl: expected https://HOST[:PORT]{login}, got another form")
    try:
        origin = Origin.parse(match[1])
    except ValueError as error:
        raise ValueError(f"proxy.remoteurl: {error}") from None
    if origin.scheme == "http":
        return str(origin)
    return configured_name(origin)


def _address(text: str) -> Listen:
    try:
        return Listen.parse(text or DEFAULT_ADDRESS)
    except ValueError as error:
        raise ValueError(f"http.addr: {error}") from None


def _storage_root(keys: _Keys) -> str:
    """Where distribution has its files; empty where they are not in a folder."""
    in_folder = "filesystem" in _section("storage", keys.value(("storage",)))
    return keys.text(_ROOT) or (DEFAULT_ROOT if in_folder else "")


def _unused(section: Section, above: tuple[str, ...]) -> Iterator[str]:
    for key, value in section.items():
        path = (*above, key)
        if path in _USED:
            continue
        if any(used[: len(path)] == path for used in _USED):
            yield from _unused(_section(".".join(path), value), path)
        else:
            yield ".".join(part if _NAME.fullmatch(part) else "?" for part in path)


def _section(name: str, value: Plain) -> Section:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _mistyped(name, "a section", value)
    return value


def _mistyped(name: str, expected: str, value: Plain) -> ValueError:
    kind = "text" if isinstance(value, str) else "a list"
    return ValueError(
        f"{name}: expected {expected}, got {'a section' if isinstance(value, dict) else kind}"
    )


def _read_text(file: Path) -> tuple[str, bool]:
    """What the file holds, and whether others than its owner can read it."""
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            content = opened.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{file} is larger than {LARGEST // 1024} KiB, want a config.yml")
    try:
        return content.decode(), exposed
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is no UTF-8 text") from None
