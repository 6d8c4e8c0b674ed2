"""What an upstream saw: nginx's access log, one JSON object a line, as values to assert on."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

LOG_FORMAT = (
    "'"
    '{"host":"$host","port":"$rig_port","scheme":"$scheme","method":"$request_method",'
    '"target":"$request_uri","status":$status,"bytes":$body_bytes_sent,'
    '"authorization":"$rig_authorization","user_agent":"$http_user_agent",'
    '"range":"$http_range","accept":"$http_accept","if_none_match":"$http_if_none_match",'
    '"via":"$http_via","received":$request_length,"connection":$connection}'
    "'"
)
LOG_MAPS = """
map $http_authorization $rig_authorization {
    "" "";
    "~*^basic " "basic";
    "~*^bearer " "bearer";
    default "other";
}
map $http_host $rig_port {
    "~:(?<port>[0-9]+)$" $port;
    default "";
}
"""

_KINDS = (
    ("ping", re.compile(r"/v2/?$")),
    ("upload", re.compile(r"/v2/.+/blobs/uploads/")),
    ("manifest", re.compile(r"/v2/.+/manifests/[^/]+$")),
    ("blob", re.compile(r"/v2/.+/blobs/[^/]+$")),
    ("blob", re.compile(r"/docker/registry/v2/blobs/")),  # the CDN serves the storage folder
    ("token", re.compile(r"/token$")),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as nginx logged it after it had ended; `bytes` are of the response's body."""

    host: str
    port: str
    scheme: str
    method: str
    target: str
    status: int
    bytes: int
    authorization: str
    user_agent: str
    range: str
    accept: str
    if_none_match: str
    via: str
    received: int
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def kind(self) -> str:
        """One of ping, manifest, blob, upload, token, other."""
        return next((kind for kind, path in _KINDS if path.match(self.path)), "other")

    @property
    def has_authorization(self) -> bool:
        return bool(self.authorization)

    def __str__(self) -> str:
        extra = " ".join(filter(None, (self.authorization, self.range)))
        return f"{self.method} {self.host}{self.target} {self.status} {self.bytes} {extra}".rstrip()


class Requests(tuple[Seen, ...]):
    """Requests in the order in which they ended; printed one a line when an assertion fails."""

    __slots__ = ()

    def of(self, **wanted: object) -> "Requests":
        """Return those whose attributes (kind, method, host, status...) all equal `wanted`."""
        return self.where(
            lambda seen: all(getattr(seen, name) == value for name, value in wanted.items())
        )

    def where(self, test: Callable[[Seen], bool]) -> "Requests":
        return Requests(seen for seen in self if test(seen))

    @property
    def blob_gets(self) -> "Requests":
        """GETs of blobs that sent a body, from a registry or its CDN (not the redirects)."""
        return self.of(kind="blob", method="GET").where(lambda seen: seen.status in (200, 206))

    @property
    def manifest_gets(self) -> "Requests":
        return self.of(kind="manifest", method="GET")

    @property
    def manifest_heads(self) -> "Requests":
        return self.of(kind="manifest", method="HEAD")

    @property
    def blob_bytes(self) -> int:
        """Bytes of blobs that left the upstreams."""
        return sum(seen.bytes for seen in self.blob_gets)

    def __repr__(self) -> str:
        return "\n".join(["Requests:", *(f"  {seen}" for seen in self)])


def parse(lines: Iterable[str]) -> Iterator[Seen]:
    """Parse access-log lines written in LOG_FORMAT."""
    names = {field.name for field in fields(Seen)}
    for line in lines:
        entry = json.loads(line)
        if entry.keys() != names:
            raise ValueError(f"got {line!r}, want the fields {sorted(names)}")
        yield Seen(**entry)
