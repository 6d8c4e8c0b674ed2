"""The configuration: one table of options, read from the command line, mitmproxy, TOML.

A value that is given (command line or mitmproxy option) wins over the environment, which wins over
the file, which wins over the default; a repeatable option is replaced whole, never added to. Only
``HTTPS_PROXY`` and ``NO_PROXY``, which were set for other programs as well, come after the file.
"""

import base64
import contextlib
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import unquote

from entrepot.bypass import Bypass, parse_no_proxy
from entrepot.mirror import Mirror
from entrepot.networks import Network, parse_network
from entrepot.reference import HostPort, Origin, bracketed, is_ip_address, parse_host, parse_port
from entrepot.registries import RegistryTable, Surroundings, is_exposed, read_registries
from entrepot.spelling import nearest

Given: TypeAlias = Mapping[str, str | bool | Sequence[str]]
Values: TypeAlias = dict[str, Any]

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?)(I?B?)", re.IGNORECASE | re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|m|h|d|)", re.IGNORECASE | re.ASCII)
_MAX_SECONDS = 365 * 86400
_MAX_SIZE = 2**63 - 1  # SQLite's integer, which keeps the limit
_HOST = r"(\[[^\[\]]*\]|[^:\[\]]*)"
_LISTEN = re.compile(rf"{_HOST}:([0-9]{{1,5}})")
_RESOLVE = re.compile(
    rf"{_HOST}:([0-9]{{1,5}}):(?:(\[[^\[\]]*:[^\[\]]*\]|[0-9.]+)(?::([0-9]{{1,5}}))?"
    r"|([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+))"
)
_PROXY = re.compile(r"(https?)://(?:([^@]*)@)?([^@/?#]*)/?", re.IGNORECASE | re.ASCII)
_AFTER_SCHEME = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]{0,15}://)?.*", re.DOTALL)


class ConfigError(ValueError):
    """A configuration that cannot be used, said in one line without secrets."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to accept clients: a host ("" for every address) and a port (0 for any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `:PORT` or `HOST:PORT`, IPv6 in brackets: `:3128`, `127.0.0.1:3128`, `[::]:3128`."""
        if match := _LISTEN.fullmatch(text):
            host, port = match.groups()
            return cls(parse_host(host) if host else "", 0 if port == "0" else parse_port(port))
        raise ValueError(f"expected :PORT or HOST:PORT, IPv6 in brackets, got {text!r}")

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Resolve:
    """Connect to this address and port instead of asking the DNS for host and port."""

    host: str
    port: int
    address: str
    target_port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT:ADDR[:PORT]`; an IPv6 ADDR in brackets, or bare without a port."""
        match = _RESOLVE.fullmatch(text)
        if match is None:
            raise ValueError(f"expected HOST:PORT:ADDR[:PORT], ADDR an IP address, got {text!r}")
        host, port_text, address, target_text, bare = match.groups()
        port = parse_port(port_text)
        target_port = parse_port(target_text) if target_text else port
        return cls(parse_host(host), port, parse_host(address or bare), target_port)


@dataclass(frozen=True, slots=True)
class UpstreamProxy:
    """The proxy through which registries are reached; its credentials never show."""

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    by_environment: bool = field(default=False, repr=False)
    """Whether it is a variable of the environment that names it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `http[s]://[USER:PASSWORD@]HOST[:PORT]`, credentials percent-encoded.

        The ValueError quotes no more than the scheme, since a password may stand anywhere in a
        malformed URL.
        """
        if match := _PROXY.fullmatch(text):
            scheme, userinfo, authority = match.groups()
            with contextlib.suppress(ValueError):
                proxy = Origin.parse(f"{scheme}://{authority}")
                return cls(proxy.scheme, proxy.host, proxy.port, *_parse_userinfo(userinfo))
        shown = _AFTER_SCHEME.sub(r"\1...", text)
        raise ValueError(
            "expected http[s]://[USER:PASSWORD@]HOST[:PORT] with the credentials percent-encoded, "
            f"got {shown!r}"
        )

    @property
    def url(self) -> str:
        """`scheme://host:port`, without credentials."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (Basic, RFC 7617), None without credentials."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def _parse_userinfo(userinfo: str | None) -> tuple[str | None, str | None]:
    """Split and percent-decode; ValueError where Basic could not carry it."""
    if not userinfo:
        return None, None
    parts = userinfo.partition(":")
    username, _, password = (unquote(part, errors="strict") for part in parts)
    if ":" in username or not (username + password).isprintable():
        raise ValueError("expected a user name without a colon, and no control characters")
    return username, password


def parse_size(text: str) -> int:
    """Read bytes: `50GiB`, `1.5T`, `500MB`, `1048576`.

    KB, MB... count in thousands; KiB, MiB... and a bare K, M... (as in nginx) in 1024s.
    """
    match = _SIZE.fullmatch(text)
    if match and not (match[3].lower().startswith("i") and not match[2]):
        number, unit, suffix = match.groups()
        base = 1000 if suffix.lower() == "b" else 1024
        size = int(Decimal(number) * base ** _UNITS[unit.upper()])
        if 0 < size <= _MAX_SIZE:
            return size
    raise ValueError(f"expected a size such as 50GiB, 1.5T, 500MB or 1048576, got {text!r}")


def parse_duration(text: str) -> float:
    """Read seconds: `30d`, `1.5h`, `5min`, `90s`, `300`; at most 365 days."""
    match = _DURATION.fullmatch(text)
    if match:
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
        if 0 < seconds <= _MAX_SECONDS:
            return seconds
    raise ValueError(f"expected a duration such as 30d, 1.5h, 5min, 90s or 300, got {text!r}")


def parse_rest(text: str) -> float:
    """Read a duration, or `0` for never."""
    return 0.0 if text == "0" else parse_duration(text)


def parse_path(text: str) -> Path:
    """Read a path; ValueError where it is empty or holds a NUL."""
    if not text or "\0" in text:
        raise ValueError(f"expected a path, got {text!r}")
    return Path(text)


def parse_domain(text: str) -> str:
    """Read a DNS name without wildcard, which stands for itself and all names below it."""
    with contextlib.suppress(ValueError):
        domain = parse_host(text)
        if not is_ip_address(domain):
            return domain
    raise ValueError(f"expected a DNS name such as example.com, got {text!r}")


def parse_proxyauth(text: str) -> str:
    """Check what mitmproxy's `proxyauth` takes; the ValueError quotes none of it."""
    file, colon = text.startswith("@") and len(text) > 1, text.count(":")
    if text == "any" or file or text.startswith("ldap") or (colon == 1 and text[0] != ":"):
        return text
    raise ValueError("expected @FILE (of htpasswd), USER:PASSWORD without another colon, or ldap:…")


@dataclass(frozen=True, slots=True)
class Option:
    """One option, for every place where it can be said.

    `name` is its TOML key. A "str" and each value of a "repeatable" go through `parser`; a "flag"
    is true or false. A `secret` value is never quoted.
    """

    name: str
    kind: Literal["str", "repeatable", "flag"]
    metavar: str
    help: str
    parser: Callable[[str], Any] = str
    in_file: bool = True
    secret: bool = False

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def mitmproxy(self) -> str:
        """The name among mitmproxy's options."""
        return f"entrepot_{self.name}"

    def read(self, value: object) -> Any:
        """Return the parsed value; ValueError says what is accepted."""
        if self.kind == "flag":
            if isinstance(value, bool):
                return value
            raise self._mistyped(value, "true or false")
        if self.kind == "repeatable":
            if isinstance(value, Sequence) and not isinstance(value, str):
                return tuple(self._read_text(item) for item in value)
            return (self._read_text(value),)
        return self._read_text(value)

    def _read_text(self, value: object) -> Any:
        if self.parser in (parse_size, parse_duration) and type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            raise self._mistyped(value, "text")
        return self.parser(value)

    def _mistyped(self, value: object, expected: str) -> ValueError:
        shown = type(value).__name__ if self.secret else repr(value)
        return ValueError(f"expected {expected}, got {shown}")


OPTIONS = (
    Option("config", "str", "FILE", "read options from this TOML file", parse_path, in_file=False),
    Option("listen", "str", "[HOST]:PORT", "accept clients here (default :3128)", Listen.parse),
    Option(
        "mirror",
        "repeatable",
        "[HOST]:PORT[=REGISTRY]",
        "be a mirror of this registry here, or of any, over plain http",
        Mirror.parse,
    ),
    Option("data", "str", "DIR", "keep blobs, index and authority here", parse_path),
    Option("size", "str", "SIZE", "keep at most this (half the free disk)", parse_size),
    Option(
        "transparent",
        "str",
        "[HOST]:PORT",
        "accept clients that a firewall redirects",
        Listen.parse,
    ),
    Option("scrub", "str", "DURATION", "verify all that is stored this often", parse_rest),
    Option("idle", "str", "DURATION", "drop a client that does nothing (5min)", parse_duration),
    Option("connect_timeout", "str", "DURATION", "to connect to a registry (3s)", parse_duration),
    Option(
        "answer_timeout", "str", "DURATION", "for its answer, if one is held (5s)", parse_duration
    ),
    Option("max_stale", "str", "DURATION", "oldest tag to serve when it fails (30d)", parse_rest),
    Option("offline", "flag", "", "ask no registry; serve what is stored"),
    Option(
        "offline_private",
        "repeatable",
        "CIDR",
        "while a registry fails or with --offline, these clients get anything stored of it, "
        "private images too, without anybody being asked whether they may",
        parse_network,
    ),
    Option("no_keep_pushed", "flag", "", "store nothing of what clients push"),
    Option("upstream_ca", "str", "FILE", "also trust these CAs for registries", parse_path),
    Option("resolve", "repeatable", "HOST:PORT:ADDR[:PORT]", "as curl's --resolve", Resolve.parse),
    Option(
        "upstream_proxy",
        "str",
        "URL",
        "reach everything through this proxy (HTTPS_PROXY)",
        UpstreamProxy.parse,
        secret=True,
    ),
    Option(
        "no_proxy",
        "repeatable",
        "HOST",
        "but this host, .domain, address or network directly (NO_PROXY)",
        Bypass.parse,
    ),
    Option("registry", "repeatable", "HOST[:PORT]", "always intercept this host", HostPort.parse),
    Option("docker_config", "str", "FILE", "use the logins of docker's config.json", parse_path),
    Option("only_listed", "flag", "", "intercept only what --registry lists"),
    Option("allow_client", "repeatable", "CIDR", "only these clients are served", parse_network),
    Option(
        "proxyauth",
        "str",
        "SPEC",
        "ask clients for a password: @HTPASSWD or USER:PASSWORD, as mitmproxy's",
        parse_proxyauth,
        secret=True,
    ),
    Option("permit", "repeatable", "DOMAIN", "a new authority signs for these only", parse_domain),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the administrator decided.

    `size` is in bytes, None to choose at first start; times are in seconds, `scrub` 0 for never,
    `max_stale` 0 for no stale tag at all. `accounts` are the tables of `registry`, whose hosts are
    in `registry` too.
    """

    data: Path
    listen: Listen = Listen("", 3128)
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
    only_listed: bool = False
    allow_client: tuple[Network, ...] = ()
    proxyauth: str | None = field(default=None, repr=False)
    permit: tuple[str, ...] = ()

    @classmethod
    def load(cls, given: Given, environ: Mapping[str, str], home: Path, root: bool) -> Self:  # noqa: FBT001
        """Merge what was given, the environment and the file that `given` names; or ConfigError.

        Options that were not given are absent from `given`, not empty. `~/` is `home`.
        """
        values: Values = {"data": _default_data(environ, home, root=root)}
        given_values = _read_all(given, OPTIONS, "the options")
        tables: list[RegistryTable] = []
        if (file := given_values.pop("config", None)) is not None:
            in_file = [option for option in OPTIONS if option.in_file]
            content, exposed = _read_file(_expand(file, home))
            if isinstance(content.get("registry"), Mapping):
                around = Surroundings(environ, home, exposed)
                tables = _read_tables(content.pop("registry"), around, str(file))
            values |= _read_all(content, in_file, str(file))
            if exposed:
                _demand_no_password(file, values)
        if data := environ.get("ENTREPOT_DATA"):
            values |= _read_all({"data": data}, OPTIONS, "ENTREPOT_DATA")
        values |= given_values
        values = _proxy_by_environment(environ, values) | values
        hosts = (host for table in tables for host in table.hosts)
        values["registry"] = tuple(dict.fromkeys((*values.get("registry", ()), *hosts)))
        values = {name: _expand(value, home) for name, value in values.items()}
        config = cls(**values, accounts=tuple(tables))
        if config.transparent == config.listen and config.listen.port:
            raise ConfigError(f"listen and transparent are both {config.listen}, want two ports")
        config._check_places()
        return config

    def _check_places(self) -> None:
        taken = [str(place) for place in (self.listen, self.transparent, *self.mirror)]
        for place in (str(mirror) for mirror in self.mirror if mirror.port):
            if taken.count(place) > 1:
                raise ConfigError(f"mirror: two are to listen on {place}, want an address for each")


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


def _read_tables(tables: Values, around: Surroundings, where: str) -> list[RegistryTable]:
    try:
        return read_registries(tables, around)
    except ValueError as error:
        raise ConfigError(f"{where}: registry: {error}") from None


def _read_file(file: Path) -> tuple[Values, bool]:
    """What a TOML file says, and whether others than its owner can read it."""
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            return tomllib.loads(opened.read().decode()), exposed
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not a TOML file: it is no UTF-8 text") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not a TOML file: {error}") from error
