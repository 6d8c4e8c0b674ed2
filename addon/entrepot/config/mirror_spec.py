"""What `--mirror` says: where a mirror listens, and of which registry it is, or of any.

A registry is reached over https, but where this says `http://HOST:PORT`.
"""

import re
from dataclasses import dataclass
from typing import Self

from entrepot.protocol.identifiers import Origin, bracketed, is_port, parse_host, parse_port
from entrepot.protocol.quirks import HUB, HUB_NAME, registry_at

_SPEC = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):([0-9]{1,5})(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a mirror listens (as `addresses.Listen`), and of which registry it is; None: of any."""

    host: str
    port: int
    registry: Origin | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[HOST]:PORT[=REGISTRY]`: `:5000`, `127.0.0.1:5000=docker.io`, `[::1]:5000`."""
        match = _SPEC.fullmatch(text)
        if match is None:
            meant = f", did you mean ':{text}'?" if is_port(text.partition("=")[0]) else ""
            raise ValueError(
                f"expected [HOST]:PORT[=REGISTRY], IPv6 in brackets, got {text!r}{meant}"
            )
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
    return registry_at(origin)


def name_of(registry: Origin) -> str:
    """What a registry is called in image names: host, and the port that is not the scheme's."""
    return HUB_NAME if registry == HUB else registry.authority
