"""The mirror road: what `--mirror` says, and which registry a request to a mirror is for.

A mirror of one registry stands for it: `/v2/library/redis/...`. A mirror of any has each request
name its registry, as containerd does it (`/v2/library/redis/...?ns=docker.io`), or at the
beginning of the repository's name, as the mirror's own catalog has it
(`/v2/docker.io/library/redis/...`).

A registry that only a client names is reached over https. Plain http takes the administrator's
word, `--mirror :5000=http://HOST:PORT`: else whoever asks could have verification left out.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from entrepot.protocol.identifiers import HostPort, Origin, bracketed, parse_host, parse_port

_DOCKER_HUB = Origin("https", "registry-1.docker.io", 443)
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io"})
_SPEC = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):([0-9]{1,5})(?:=(.*))?", re.DOTALL)
_FIRST_PART = re.compile(r"/v2/([^/]+)(/.*)")
_LINK = re.compile(r"<(?:https?://[^/>]*)?/[^>?]*(?:\?([^>]*))?>(.*)")
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a mirror listens (as `config.Listen`), and of which registry it is; None: of any."""

    host: str
    port: int
    registry: Origin | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[HOST]:PORT[=REGISTRY]`: `:5000`, `127.0.0.1:5000=docker.io`, `[::1]:5000`."""
        match = _SPEC.fullmatch(text)
        if match is None:
            raise ValueError(f"expected [HOST]:PORT[=REGISTRY], IPv6 in brackets, got {text!r}")
        host, port, registry = match.groups()
        return cls(
            parse_host(host) if host else "",
            0 if port == "0" else parse_port(port),
            None if registry is None else parse_registry(registry),
        )

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def parse_registry(text: str) -> Origin:
    """Read `HOST[:PORT]`, reached over https, or `http[s]://HOST[:PORT]`.

    `docker.io` is what everybody calls registry-1.docker.io.
    """
    try:
        origin = Origin.parse(text if "://" in text else f"https://{text}")
    except ValueError:
        raise ValueError(
            f"expected a registry as HOST[:PORT] or http://HOST[:PORT], got {text!r}"
        ) from None
    is_hub = origin.host in _DOCKER_HUB_NAMES and str(origin) == f"https://{origin.host}"
    return _DOCKER_HUB if is_hub else origin


def name_of(registry: Origin) -> str:
    """What a registry is called in image names: host, and the port that is not the scheme's."""
    return "docker.io" if registry == _DOCKER_HUB else registry.authority


def registry_named(name: str, given: Collection[Origin]) -> Origin:
    """The registry that a client calls so; one of those that the administrator gave, if it is.

    ValueError where it is no `HOST[:PORT]`.
    """
    where = str(HostPort.parse(name))
    return next((origin for origin in given if name_of(origin) == where), parse_registry(where))


def namespaces(query: str) -> tuple[list[str], str]:
    """The values of `ns` in a query, decoded, and the query without them.

    ValueError for a query that cannot be read.
    """
    if not query:
        return [], ""
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    found = [value for name, value in pairs if name == "ns"]
    if not found:
        return [], query
    return found, urlencode([pair for pair in pairs if pair[0] != "ns"])


def split_path(path: str) -> tuple[str, str] | None:
    """Part `/v2/HOST[:PORT]/rest` into the host and `/v2/rest`; None where no host comes first.

    As in an image's name, the first part is a host where it has a dot or a port, or is localhost.
    """
    match = _FIRST_PART.fullmatch(path)
    if match is None or not (match[1] == "localhost" or "." in match[1] or ":" in match[1]):
        return None
    return match[1], f"/v2{match[2]}"


def relinked(link: str, path: str, namespace: str | None) -> str:
    """A registry's `Link` to the next page, as a client has to ask the mirror for it.

    ``path`` is what the client asked for, ``namespace`` the registry, where its query names it.
    """
    match = _LINK.fullmatch(link)
    if match is None:
        return link
    named = "" if namespace is None else urlencode({"ns": namespace})
    query = "&".join(part for part in (match[1], named) if part)
    return f"<{path}?{query}>{match[2]}" if query else f"<{path}>{match[2]}"
