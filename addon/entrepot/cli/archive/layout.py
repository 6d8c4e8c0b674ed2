"""The words of an OCI image layout in a tar, as writers and readers of it know them.

Sources: OCI image-spec, "Image Layout" and "Annotations"; `io.containerd.image.name` is
containerd's, and Docker's since 25; `manifest.json` is what `docker load` read before.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from entrepot.protocol.identifiers import Digest

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
ORIGIN = "io.entrepot.registry"
"""Ours: a registry as `scheme://host[:port]`, where it is not `https` at the name's host."""
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
DOCKER_FILE = "manifest.json"
LAYOUT = {"imageLayoutVersion": "1.0.0"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest or an index says of an object that it lists."""

    digest: Digest
    size: int
    media_type: str
    platform: str = ""
    """As `linux/arm64/v8`; empty where none is said, or an unknown one."""


def path_of(digest: Digest) -> str:
    """The name of an object in the archive."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def is_index(content: bytes) -> bool:
    """Whether a manifest lists manifests, and not layers."""
    return isinstance(document_of(content).get("manifests"), list)


def document_of(content: bytes) -> Mapping[str, object]:
    """A manifest's JSON; ValueError where it is no object."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError("expected a manifest to be a JSON object")  # noqa: TRY004 it was read
    return document


def listed(content: bytes) -> Iterator[Descriptor]:
    """What a manifest or an index lists, in its order. ValueError where that cannot be read."""
    document = document_of(content)
    for name in ("manifests", "config", "layers", "blobs"):
        found = document.get(name)
        for one in found if isinstance(found, list) else [found] if found is not None else ():
            if isinstance(one, dict) and not (name == "layers" and one.get("urls")):
                yield descriptor(one)


def descriptor(said: Mapping[str, object]) -> Descriptor:
    """Read a descriptor. ValueError where it is none."""
    digest, size, media_type = said.get("digest"), said.get("size"), said.get("mediaType")
    if not isinstance(digest, str):
        raise ValueError("expected a descriptor to have a digest")  # noqa: TRY004 it was read
    return Descriptor(
        Digest.parse(digest),
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else 0,
        media_type if isinstance(media_type, str) else "application/octet-stream",
        _platform(said.get("platform")),
    )


def _platform(said: object) -> str:
    if not isinstance(said, dict):
        return ""
    words = [said.get(name) for name in ("os", "architecture", "variant")]
    known = [word for word in words if isinstance(word, str) and word]
    return "" if "unknown" in known or len(known) < 2 else "/".join(known)


def index_document(entries: Sequence[Mapping[str, object]]) -> bytes:
    """What `index.json` is."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}, indent=1
    ).encode()
