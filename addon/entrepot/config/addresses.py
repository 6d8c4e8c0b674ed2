"""Where to listen and what to connect to, as options say it."""

import base64
import contextlib
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Self
from urllib.parse import unquote

from entrepot.protocol.identifiers import Origin, bracketed, is_port, parse_host, parse_port

_HOST = r"(\[[^\[\]]*\]|[^:\[\]]*)"
_LISTEN = re.compile(rf"{_HOST}:([0-9]{{1,5}})")
_RESOLVE = re.compile(
    rf"{_HOST}:([0-9]{{1,5}}):(?:(\[[^\[\]]*:[^\[\]]*\]|[0-9.]+)(?::([0-9]{{1,5}}))?"
    r"|([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+))"
)
_PROXY = re.compile(r"(https?)://(?:([^@]*)@)?([^@/?#]*)/?", re.IGNORECASE | re.ASCII)
_AFTER_SCHEME = re.compile(r"\A([A-Za-z][A-Za-z0-9+.-]{0,15}://)?.*", re.DOTALL)


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
        meant = f", did you mean ':{text}'?" if is_port(text) else ""
        raise ValueError(f"expected :PORT or HOST:PORT, IPv6 in brackets, got {text!r}{meant}")

    @property
    def own_url(self) -> str:
        """`http://HOST:PORT` by which this machine reaches what listens here."""
        any_address = self.host in ("", str(IPv4Address(0)))
        host = "127.0.0.1" if any_address else "::1" if self.host == "::" else self.host
        return f"http://{bracketed(host)}:{self.port}"

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
