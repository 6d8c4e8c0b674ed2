"""Which endpoint of the distribution API a request is for.

| path below `/v2/`              | endpoint  | methods                             |
| ------------------------------ | --------- | ----------------------------------- |
| (nothing)                      | Ping      | GET, HEAD                           |
| `_catalog`                     | Catalog   | GET, HEAD                           |
| `<name>/blobs/<digest>`        | Blob      | GET, HEAD, DELETE                   |
| `<name>/manifests/<reference>` | Manifest  | GET, HEAD, PUT, DELETE              |
| `<name>/tags/list`             | TagList   | GET, HEAD                           |
| `<name>/referrers/<digest>`    | Referrers | GET, HEAD                           |
| `<name>/blobs/uploads/...`     | Upload    | GET, HEAD, POST, PATCH, PUT, DELETE |

Only the canonical spelling counts: whatever a registry might read differently from us (percent-
encoding, dot segments, empty segments, a query on content) is `Other` and passes through. A
repository name may contain `blobs`, `manifests` or `tags`, so the last marker that fits decides.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from entrepot.protocol.identifiers import Digest, Reference, is_repository_name, parse_reference

# Whole segments of unreserved and sub-delim characters (RFC 3986), none of them empty, "." or "..".
_CANONICAL = re.compile(r"/v2(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]++)+/?")
_PATH_LENGTH = 4096
READS = frozenset({"GET", "HEAD"})
"""The methods that change nothing."""
_UPLOAD = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"})
_UPLOAD_MARKER = "/blobs/uploads/"
# containerd says it to every host (``quirks``); only a mirror listens to it.
_NAMESPACE_QUERY = re.compile(r"ns=[^&;]*")


@dataclass(frozen=True, slots=True)
class Ping:
    """The version check, where challenges are handed out."""

    detail: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The list of a registry's repositories."""

    detail: ClassVar[str] = "catalog"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in a repository."""

    detail: ClassVar[str] = "blob"
    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest in a repository, by tag or by digest."""

    detail: ClassVar[str] = "manifest"
    name: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Upload:
    """A blob upload, at whatever stage."""

    detail: ClassVar[str] = "upload"
    name: str


@dataclass(frozen=True, slots=True)
class TagList:
    """The list of a repository's tags."""

    detail: ClassVar[str] = "tags"
    name: str


@dataclass(frozen=True, slots=True)
class Referrers:
    """The list of manifests whose subject is this digest."""

    detail: ClassVar[str] = "referrers"
    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else: not ours to understand."""

    detail: ClassVar[str] = "other"


ListEndpoint: TypeAlias = TagList | Referrers | Catalog
"""What a registry answers with a list, which changes as others push."""

Cacheable: TypeAlias = Blob | Manifest | ListEndpoint
"""What the cache answers, or keeps for when the registry does not."""

Endpoint: TypeAlias = Ping | Catalog | Blob | Manifest | Upload | TagList | Referrers | Other


def parse_endpoint(method: str, path: str, query: str) -> Endpoint:
    """Tell the endpoint from the raw path and the query without its `?`; never raises."""
    if path in {"/v2", "/v2/"}:
        return Ping() if method in READS else Other()
    if path == "/v2/_catalog":
        return Catalog() if method in READS else Other()
    if len(path) > _PATH_LENGTH or not _CANONICAL.fullmatch(path):
        return Other()
    below = path.removeprefix("/v2/")
    return _parse_content(method, below, query) or _parse_upload(method, below) or Other()


def _parse_content(method: str, below: str, query: str) -> Endpoint | None:
    parts = below.rsplit("/", 2)
    if len(parts) != 3 or not is_repository_name(parts[0]):
        return None
    name, marker, last = parts
    try:
        return _build(method, name, marker, last, query)
    except ValueError:
        return None


def _build(method: str, name: str, marker: str, last: str, query: str) -> Endpoint | None:
    """Return the endpoint, None if the marker is none; ValueError where `last` does not fit it."""
    match marker:
        case "blobs":
            digest = Digest.parse(last)
            allowed = method in READS | {"DELETE"} and _is_plain(query)
            return Blob(name, digest) if allowed else Other()
        case "manifests":
            reference = parse_reference(last)
            allowed = method in READS | {"PUT", "DELETE"} and _is_plain(query)
            return Manifest(name, reference) if allowed else Other()
        case "referrers":
            digest = Digest.parse(last)
            return Referrers(name, digest) if method in READS else Other()
        case "tags" if last == "list":
            return TagList(name) if method in READS else Other()
    return None


def _is_plain(query: str) -> bool:
    return not query or _NAMESPACE_QUERY.fullmatch(query) is not None


def _parse_upload(method: str, below: str) -> Upload | None:
    name, marker, _ = below.rpartition(_UPLOAD_MARKER)
    if marker and method in _UPLOAD and is_repository_name(name):
        return Upload(name)
    return None
