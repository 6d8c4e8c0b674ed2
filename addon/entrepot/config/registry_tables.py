"""The ``registry`` tables of the TOML file: what an administrator says of one registry.

    [registry."docker.io"]
    username = "fleet"
    password_file = "/etc/entrepot/hub"        # or password_env, or password
    clients = ["10.0.0.0/8"]                   # who gets the account; everybody without it
    realm = ["login.example.com"]              # further token servers that may see the login
    fill = "asked"                             # as --fill, for this registry

    [registry."docker.io".repository."acme/"]  # the longest prefix counts, by whole components
    username = "acme-robot"
    password_env = "ACME_PASSWORD"

A key is ``HOST[:PORT]`` over TLS, ``http://HOST[:PORT]`` where the login may go over plain HTTP, or
``docker.io`` for Docker Hub. A password that the file itself holds needs a file that nobody else
can read. Nothing here quotes a password.
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from entrepot.config.networks import Network, parse_network
from entrepot.config.options import Fill, nearest
from entrepot.protocol.account import Account, Login
from entrepot.protocol.identifiers import HostPort, Origin, is_repository_name
from entrepot.protocol.quirks import HUB_HOSTS, HUB_NAME

Prefix = tuple[str, ...]
"""The first components of repository names; none for the whole registry."""

_LARGEST_SECRET = 64 * 1024
_PASSWORDS = ("password", "password_file", "password_env")
_LOGIN_KEYS = ("username", *_PASSWORDS)
_REGISTRY_KEYS = (*_LOGIN_KEYS, "realm", "clients", "fill", "repository")


@dataclass(frozen=True, slots=True)
class RegistryTable:
    """What is said of one registry; ``clients`` None where everybody gets its accounts."""

    key: str
    origins: tuple[Origin, ...]
    hosts: tuple[HostPort, ...]
    """Its names, to be intercepted."""
    accounts: tuple[tuple[Prefix, Account], ...] = ()
    clients: tuple[Network, ...] | None = None
    realms: frozenset[Origin] = frozenset()
    fill: Fill | None = None
    """What becomes of blobs that are asked for in parts; None where nothing is said."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a table may refer to; ``exposed``: others can read the file that it stands in."""

    environ: Mapping[str, str]
    home: Path
    exposed: bool


@dataclass(slots=True)
class PasswordFile:
    """A login whose password a file holds; read again where it was refused, since it may change."""

    file: Path
    current: Login

    def __call__(self, refused: Login | None) -> Login:
        """The login; the file is read where ``refused`` is what it last said."""
        if refused is not None and refused == self.current:
            try:
                self.current = Login(self.current.username, read_password(self.file))
            except ValueError:
                return self.current  # what was refused
        return self.current


def read_registries(tables: Mapping[str, object], around: Surroundings) -> list[RegistryTable]:
    """Read every table. Raises ValueError, which names the table."""
    found: list[RegistryTable] = []
    taken: dict[Origin, str] = {}
    for key, table in tables.items():
        try:
            read = _read_registry(key, table, around)
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}") from None
        for origin in read.origins:
            if origin in taken:
                raise ValueError(f"{key!r} and {taken[origin]!r} are the same registry")
            taken[origin] = key
        found.append(read)
    return found


def read_key(key: str) -> tuple[tuple[Origin, ...], tuple[HostPort, ...]]:
    """The origins and hosts that a key names. Raises ValueError."""
    if key == HUB_NAME:
        hosts = tuple(map(HostPort, HUB_HOSTS))
    elif "://" in key:
        origin = Origin.parse(key)
        return (origin,), (HostPort(origin.host, origin.port),)
    else:
        hosts = (HostPort.parse(key),)
    return tuple(Origin("https", host.host, host.port or 443) for host in hosts), hosts


def read_password(file: Path) -> str:
    """The password in a file, without the newline at its end. Raises ValueError."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_SECRET + 1)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} holds no UTF-8 text") from None
    if not text:
        raise ValueError(f"{file} is empty, want a password")
    if not text.isprintable() or len(content) > _LARGEST_SECRET:
        raise ValueError(f"{file} holds more than one line with a password")
    return text


def exposed_files(tables: Iterable[RegistryTable]) -> list[Path]:
    """The password files that others than their owner can read."""
    sources = (account.source for table in tables for _, account in table.accounts)
    files = {source.file for source in sources if isinstance(source, PasswordFile)}
    return sorted(file for file in files if is_exposed(file.stat()))


def is_exposed(found: os.stat_result) -> bool:
    """Whether others can read a file that may hold a password.

    The group may where root owns it, so that a service need not own its configuration.
    """
    by_group = bool(found.st_mode & stat.S_IRGRP) and found.st_uid != 0
    return by_group or bool(found.st_mode & stat.S_IROTH)


def _read_registry(key: str, table: object, around: Surroundings) -> RegistryTable:
    origins, hosts = read_key(key)
    table = _table(table, _REGISTRY_KEYS)
    realms = frozenset(map(_realm, _texts(table, "realm")))
    plain = any(origin.scheme == "http" for origin in origins)
    accounts = tuple(
        (prefix, _account(login, around, realms, plain=plain)) for prefix, login in _logins(table)
    )
    clients = tuple(map(parse_network, _texts(table, "clients"))) if "clients" in table else None
    if clients == ():
        raise ValueError("clients: expected at least one network, or no such key for everybody")
    try:
        fill = Fill.parse(_text("fill", table["fill"])) if "fill" in table else None
    except ValueError as error:
        raise ValueError(f"fill: {error}") from None
    return RegistryTable(key, origins, hosts, accounts, clients, realms, fill)


def _logins(table: Mapping[str, object]) -> Iterator[tuple[Prefix, Mapping[str, object]]]:
    """Each table that holds a login, by its prefix."""
    own = {key: table[key] for key in _LOGIN_KEYS if key in table}
    if own:
        yield (), own
    prefixes: set[Prefix] = set()
    for key, login in _table(table.get("repository", {}), None).items():
        name = key.removesuffix("/")
        if not is_repository_name(name):
            raise ValueError(f"repository: expected the beginning of a name, got {key!r}")
        prefix = tuple(name.split("/"))
        if prefix in prefixes:
            raise ValueError(f"repository {key!r} is there twice")
        prefixes.add(prefix)
        yield prefix, _table(login, _LOGIN_KEYS)


def _account(
    table: Mapping[str, object],
    around: Surroundings,
    realms: frozenset[Origin],
    *,
    plain: bool,
) -> Account:
    values = {key: _text(key, value) for key, value in table.items()}
    passwords = [key for key in _PASSWORDS if key in values]
    if "username" not in values:
        raise ValueError(f"{passwords[0] if passwords else 'the table'} needs a username")
    if len(passwords) != 1:
        have = " and ".join(passwords) or "none"
        raise ValueError(f"expected one of {', '.join(_PASSWORDS)}, got {have}")
    username = values["username"]
    if ":" in username or not username.isprintable():
        raise ValueError(f"username: expected one without a colon, got {username!r}")
    given = values[passwords[0]]
    match passwords[0]:
        case "password_file":
            file = _path(given, around.home)
            source = PasswordFile(file, Login(username, read_password(file)))
            return Account(username, source=source, realms=realms, plain=plain)
        case "password_env":
            password = around.environ.get(given, "")
            if not password:
                raise ValueError(f"the environment variable {given} is not set")
        case _:
            if around.exposed:
                raise ValueError("a password may stand only in a file of mode 0600 (chmod 600)")
            password = given
    if not password.isprintable():
        raise ValueError(f"{passwords[0]}: expected no control characters")
    return Account(username, password, realms=realms, plain=plain)


def _path(text: str, home: Path) -> Path:
    if "\0" in text:
        raise ValueError("password_file: expected a path")
    path = Path(text)
    return home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path


def _realm(text: str) -> Origin:
    if "://" in text:
        return Origin.parse(text)
    where = HostPort.parse(text)
    return Origin("https", where.host, where.port or 443)


def _table(value: object, known: Collection[str] | None) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a table")  # noqa: TRY004 it is a text that was read
    for key in value:
        if known is not None and key not in known:
            raise ValueError(f"unknown key {key!r}, {nearest(key, known)}")
    return value


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    value = table.get(key, [])
    return [_text(key, one) for one in (value if isinstance(value, list) else [value])]


def _text(key: str, value: object) -> str:
    """A text that is not empty; what it is instead is not quoted, since it may be a secret."""
    if not isinstance(value, str):
        found = type(value).__name__
        raise ValueError(f"{key}: expected text, got {found}")  # noqa: TRY004 as above
    if not value:
        raise ValueError(f"{key} is empty")
    return value
