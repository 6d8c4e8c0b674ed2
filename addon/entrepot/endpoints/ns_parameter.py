"""`?ns=`: which registry a request to a mirror is for.

A mirror of one registry stands for it: `/v2/library/redis/...`. A mirror of any has each request
name its registry, as containerd does it (`/v2/library/redis/...?ns=docker.io`), or at the
beginning of the repository's name, as the mirror's own catalog has it
(`/v2/docker.io/library/redis/...`). `ns` is no part of the distribution API: containerd adds it to
whatever it asks a mirror for (`addNamespace` of its resolver).

A registry that only a client names is reached over https. Plain http takes the administrator's
word, `--mirror :5000=http://HOST:PORT`: else whoever asks could have verification left out.
"""

import re
from collections.abc import Collection
from urllib.parse import parse_qsl, urlencode

from entrepot.config.mirror_spec import name_of, parse_registry
from entrepot.protocol.identifiers import HostPort, Origin

_FIRST_PART = re.compile(r"/v2/([^/]+)(/.*)")
_LINK = re.compile(r"<(?:https?://[^/>]*)?/[^>?]*(?:\?([^>]*))?>(.*)")
_MOST_FIELDS = 20


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
