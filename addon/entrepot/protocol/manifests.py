"""What a manifest says of other objects: its type and the digests that it lists.

OCI image-spec (manifest, index), Docker image manifest v2 schema 2 (manifest, list). Schema 1
is signed inside its own bytes, so its digest is not the hash of what is sent: it is never
cached (``is_cacheable``).
"""

import json
from collections.abc import Iterator
from itertools import islice

from entrepot.protocol.identifiers import Digest

MAX_SIZE = 4 * 1024 * 1024
"""Bytes; what distribution and Docker Hub accept as a manifest at most."""

MOST_LISTED = 2000
"""Entries of one manifest that are looked at: 4 MiB have room for 45,000, which would hold up all
other clients for a good part of a second. Real images have some hundred at most."""

_SCHEMA1 = "vnd.docker.distribution.manifest.v1+"
_LISTS = ("manifests", "layers", "blobs")


def is_cacheable(media_type: str) -> bool:
    """Whether this is the ``Content-Type`` of a manifest that hashes to its own digest.

    What a portal shows in its place, a login page, is HTML.
    """
    spelt = media_type.lower()
    return _SCHEMA1 not in spelt and not spelt.startswith("text/html")


def listed_digests(content: bytes) -> frozenset[Digest]:
    """The digests of the config, layers and manifests that a manifest lists.

    Bytes that are no such manifest list nothing. ``subject`` is not listed: it names an
    object that the manifest speaks about, not one that belongs to it.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(_digests(document)) if isinstance(document, dict) else frozenset()


def _digests(document: dict[str, object]) -> Iterator[Digest]:
    for descriptor in islice(_descriptors(document), MOST_LISTED):
        text = descriptor.get("digest") if isinstance(descriptor, dict) else None
        if isinstance(text, str):
            try:
                yield Digest.parse(text)
            except ValueError:
                continue


def _descriptors(document: dict[str, object]) -> Iterator[object]:
    yield document.get("config")
    for name in _LISTS:
        entries = document.get(name)
        if isinstance(entries, list):
            yield from entries
