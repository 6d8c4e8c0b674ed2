"""The table of options, for every place where one can be said: command line, mitmproxy, TOML."""

import contextlib
import difflib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy
from entrepot.config.mirror_spec import Mirror
from entrepot.config.networks import Recorded, parse_network
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.config.units import parse_duration, parse_duration_or_never, parse_size
from entrepot.events.lines import LogFormat
from entrepot.protocol.identifiers import HostPort, is_ip_address, parse_host

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,200}")
_BELOW = re.compile(r"\A\*?\.")


def parse_path(text: str) -> Path:
    """Read a path; ValueError where it is empty or holds a NUL."""
    if not text or "\0" in text:
        raise ValueError(f"expected a path, got {text!r}")
    return Path(text)


def parse_domain(text: str) -> str:
    """Read a DNS name without wildcard, which stands for itself and all names below it."""
    message = f"expected a DNS name such as example.com, got {text!r}"
    name, wildcards = _BELOW.subn("", text)
    with contextlib.suppress(ValueError):
        domain = parse_host(name)
        if not is_ip_address(domain):
            if not wildcards:
                return domain
            message += f", did you mean {domain!r}?"
    raise ValueError(message)


def parse_proxyauth(text: str) -> str:
    """Check what mitmproxy's `proxyauth` takes; the ValueError quotes none of it."""
    file, colon = text.startswith("@") and len(text) > 1, text.count(":")
    if text == "any" or file or text.startswith("ldap") or (colon == 1 and text[0] != ":"):
        return text
    raise ValueError("expected @FILE (of htpasswd), USER:PASSWORD without another colon, or ldap:…")


def parse_admin_listen(text: str) -> Listen:
    """Read `[HOST]:PORT`; without a host it is this machine alone."""
    listen = Listen.parse(text)
    return listen if listen.host else Listen("127.0.0.1", listen.port)


def parse_admin_token(text: str) -> str:
    """Check what is a token or `@FILE`; the ValueError quotes none of it."""
    if (text.startswith("@") and len(text) > 1) or _TOKEN.fullmatch(text):
        return text
    raise ValueError("expected @FILE, or a token of 16 to 200 letters and digits")


def nearest(name: str, known: Collection[str]) -> str:
    """What to say of a name that is misspelt: the nearest one that is known, or all of them."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(known)}"


class Fill(Enum):
    """What becomes of a blob of which clients ask for parts; the values are those of ``--fill``."""

    WHOLE = "whole"
    """The rest is fetched too, after what they ask for, and stored."""
    ASKED = "asked"
    """Only what they ask for is fetched, until it is all there."""

    @classmethod
    def parse(cls, text: str) -> "Fill":
        """Read the value of the option, and of a registry's table."""
        try:
            return cls(text)
        except ValueError:
            raise ValueError(f"expected whole or asked, got {text!r}") from None


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
    Option(
        "scrub", "str", "DURATION", "verify all that is stored this often", parse_duration_or_never
    ),
    Option("idle", "str", "DURATION", "drop a client that does nothing (5min)", parse_duration),
    Option(
        "drain",
        "str",
        "DURATION",
        "at a stop, let pulls go on for so long (10s)",
        parse_duration_or_never,
    ),
    Option("connect_timeout", "str", "DURATION", "to connect to a registry (3s)", parse_duration),
    Option(
        "answer_timeout", "str", "DURATION", "for its answer, if one is held (5s)", parse_duration
    ),
    Option(
        "max_stale",
        "str",
        "DURATION",
        "oldest tag to serve when it fails (30d)",
        parse_duration_or_never,
    ),
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
    Option(
        "fill",
        "str",
        "WHICH",
        "of a blob that is asked for in parts, fetch the whole or only what is asked (whole)",
        Fill.parse,
    ),
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
        NoProxyEntry.parse,
    ),
    Option("registry", "repeatable", "HOST[:PORT]", "always intercept this host", HostPort.parse),
    Option("docker_config", "str", "FILE", "use the logins of docker's config.json", parse_path),
    Option(
        "registry_config",
        "str",
        "FILE",
        "be what this config.yml of registry:2 describes, a pull-through cache",
        parse_path,
    ),
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
    Option(
        "record",
        "str",
        "WHOM",
        "record each request: with the client's address (clients), with its network only "
        "(networks), or nothing (none)",
        Recorded.parse,
    ),
    Option("record_keep", "str", "DURATION", "keep single records so long (30d)", parse_duration),
    Option("record_size", "str", "SIZE", "and at most so much of them (256MiB)", parse_size),
    Option("log_format", "str", "FORMAT", "write the log as text or json", LogFormat.parse),
    Option("access_log", "flag", "", "log one line for each request"),
    Option(
        "admin",
        "str",
        "[HOST]:PORT",
        "serve the page here too; without HOST on this machine alone",
        parse_admin_listen,
    ),
    Option(
        "admin_allow",
        "repeatable",
        "CIDR",
        "who may read the page (loopback and private addresses)",
        parse_network,
    ),
    Option("admin_host", "repeatable", "NAME", "a name by which the page is reached", parse_host),
    Option("admin_closed", "flag", "", "ask for the page's token to read it, too"),
    Option(
        "admin_token",
        "str",
        "TOKEN",
        "what the page asks of who changes something: @FILE, or the token itself "
        "(admin-token in the data folder)",
        parse_admin_token,
        secret=True,
    ),
    Option("permit", "repeatable", "DOMAIN", "a new authority signs for these only", parse_domain),
)
