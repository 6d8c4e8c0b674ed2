"""What the requests of a push say: where an upload is, where it goes on, what it becomes.

After distribution-spec v1.1.1, "Push".

| request                             | step             | what the registry's answer means        |
| ----------------------------------- | ---------------- | --------------------------------------- |
| POST `uploads/`                     | `BeginUpload`    | 202: it goes on at `Location`           |
| POST `uploads/?digest=`, the bytes  | `BeginUpload`    | 201: they are the blob; 202: not taken  |
| POST `uploads/?mount=&from=`        | `BeginUpload`    | 201: the repository has that blob; 202  |
| PATCH of a location, some bytes     | `ContinueUpload` | 2xx: taken, it goes on at `Location`    |
| PUT of a location with `digest=`    | `ContinueUpload` | 201: all bytes so far are the blob      |
| GET of a location                   | `ContinueUpload` | 2xx: it goes on at `Location`           |
| PUT of a manifest                   | `PutManifest`    | 201: the repository has it              |

A registry may put the state of an upload into the query of its location; clients add ``digest`` to
that, and some write the query anew in another order. A location may have any path; one on another
host is nothing to follow, since what is sent there may not pass here.
"""

import json
import re
from dataclasses import dataclass
from typing import Self, TypeAlias
from urllib.parse import parse_qsl, urljoin, urlsplit

from entrepot.protocol.identifiers import Digest, Origin, Reference, Repository
from entrepot.protocol.messages import Request
from entrepot.protocol.routes import Endpoint, Manifest, Other, Upload

_BEGIN = "/blobs/uploads/"
_FOLLOWED = frozenset({"GET", "HEAD", "PATCH", "PUT", "DELETE"})
_MOST_PARAMETERS = 50
_SPAN = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-[0-9]{1,19}(?:/.*)?", re.ASCII)
"""``Content-Range`` of a PATCH, which the specification writes without unit and size."""

_UNREADABLE = -1
_MANIFEST_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    }
)


@dataclass(frozen=True, slots=True)
class UploadLocation:
    """The URL of an unfinished upload, without the ``digest`` that its last request adds."""

    origin: Origin
    path: str
    query: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, origin: Origin, path: str, query: str) -> Self:
        """Build from a raw path and query; ValueError where the query is unreasonable."""
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        return cls(origin, path, tuple(sorted(pair for pair in pairs if pair[0] != "digest")))

    @classmethod
    def after(cls, request: Request, location: str) -> Self | None:
        """Where ``Location`` leads from a request; None for another host, or nowhere."""
        try:
            url = urlsplit(urljoin(f"{request.origin}{request.target}", location))
            if Origin.parse(f"{url.scheme}://{url.netloc}") != request.origin:
                return None
            return cls.of(request.origin, url.path, url.query)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class BeginUpload:
    """The request that begins an upload, or is all of it."""

    repository: Repository
    digest: Digest | None
    mount: Digest | None


@dataclass(frozen=True, slots=True)
class ContinueUpload:
    """A further request of an upload, at its location."""

    location: UploadLocation
    digest: Digest | None
    """What all bytes so far are to be; of a PUT."""
    first: int | None
    """Where its bytes say they belong; None where they say nothing, -1 where nobody can tell."""


@dataclass(frozen=True, slots=True)
class PutManifest:
    """A manifest, by tag or by digest."""

    repository: Repository
    reference: Reference


Step: TypeAlias = BeginUpload | ContinueUpload | PutManifest


def read_step(request: Request, endpoint: Endpoint) -> Step | None:
    """What a request is to a push; None where it is nothing to one. Never raises."""
    match endpoint:
        case Upload(name) if request.method == "POST":
            if not request.path.endswith(_BEGIN):
                return None
            repository = Repository(request.origin, name)
            digest, mount = (_digest(request.query, name) for name in ("digest", "mount"))
            return BeginUpload(repository, digest, mount)
        case Manifest(name, reference) if request.method == "PUT":
            return PutManifest(Repository(request.origin, name), reference)
        case Upload() | Other() if request.method in _FOLLOWED:
            return _continued(request)
    return None


def _continued(request: Request) -> ContinueUpload | None:
    try:
        location = UploadLocation.of(request.origin, request.path, request.query)
    except ValueError:
        return None
    digest = _digest(request.query, "digest") if request.method == "PUT" else None
    return ContinueUpload(location, digest, _first(request))


def _first(request: Request) -> int | None:
    text = request.value("Content-Range")
    if text is None:
        return None
    match = _SPAN.fullmatch(text.strip())
    return int(match[1]) if match else _UNREADABLE


def _digest(query: str, name: str) -> Digest | None:
    """The one digest that a parameter names; two of them could be read either way."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
        (text,) = (value for key, value in pairs if key == name)
        return Digest.parse(text)
    except ValueError:
        return None


def is_plain(request: Request) -> bool:
    """Whether a request's body is what it stands for, and not that in a coding."""
    return (request.value("Content-Encoding") or "identity").lower() == "identity"


def manifest_type(content_type: str, content: bytes) -> str | None:
    """The type under which a registry will give a pushed manifest; None where that is not sure.

    It is what the manifest says of itself, and it must have been put as that.
    """
    if content_type not in _MANIFEST_TYPES:
        return None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("mediaType", content_type) != content_type:
        return None
    return content_type
