"""Lists that registries give: of tags, of referrers, of repositories.

What an answer must be to be taken for one, so that it may be kept: whatever else answers 200 (a
portal, a sign-on, a proxy) shows a page or other JSON, never a list of the right shape.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Fields, field_values
from entrepot.protocol.routes import Catalog, ListEndpoint, Referrers, TagList

LARGEST = 4 * 1024 * 1024
"""Bytes of a list that is kept; some 100,000 tags. A larger one only passes."""

NOT_SUPPORTED = frozenset({400, 404, 405, 406})
"""Answers to a question for referrers by which clients know a registry without them: then they ask
for the tag `sha256-<hex>` instead (distribution-spec, "Referrers Tag Schema")."""

_HOST_OF_LINK = re.compile(r"<\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#>]*)")


def is_list(endpoint: ListEndpoint, content: bytes) -> bool:
    """Whether a body is the list that was asked for, as the distribution-spec has it."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and _SHAPES[type(endpoint)](document)


def leads_elsewhere(headers: Fields, origin: Origin) -> bool:
    """Whether the ``Link`` to the next page names another host than its registry."""
    named = [host for link in field_values(headers, "Link") for host in _HOST_OF_LINK.findall(link)]
    hosts = {origin.host, f"[{origin.host}]"}
    return any(_without_port(host).lower() not in hosts for host in named)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) and not name.endswith(":") else host


def _is_tag_list(document: dict[str, Any]) -> bool:
    return isinstance(document.get("name"), str) and _are_texts(document.get("tags", 0))


def _is_catalog(document: dict[str, Any]) -> bool:
    return _are_texts(document.get("repositories", 0))


def _are_texts(found: object) -> bool:
    """Whether these are texts; null, as Go writes an empty list, is none of them."""
    return found is None or (isinstance(found, list) and all(isinstance(one, str) for one in found))


def _is_index(document: dict[str, Any]) -> bool:
    found = document.get("manifests", 0)
    if document.get("schemaVersion") != 2:
        return False
    return found is None or (isinstance(found, list) and all(map(_is_descriptor, found)))


def _is_descriptor(found: object) -> bool:
    if not isinstance(found, dict):
        return False
    try:
        Digest.parse(str(found.get("digest")))
    except ValueError:
        return False
    return True


_SHAPES: dict[type[ListEndpoint], Callable[[dict[str, Any]], bool]] = {
    TagList: _is_tag_list,
    Catalog: _is_catalog,
    Referrers: _is_index,
}
