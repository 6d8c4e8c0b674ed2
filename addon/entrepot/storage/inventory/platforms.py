"""For which platforms an image is: what an index says of its manifests, or a configuration.

OCI image-spec, "Image Index" (`platform`) and "Image Configuration".
"""

import json
from collections.abc import Collection

MOST_BYTES = 4 * 1024 * 1024
"""What is read of a configuration at most."""

_UNKNOWN = "unknown"
"""What attestations say that they are for (BuildKit)."""


def of_index(content: bytes, held: Collection[str]) -> tuple[str, ...]:
    """The platforms of those manifests of an index whose digests are in ``held``."""
    entries = _document(content).get("manifests")
    found = [
        _spelt(entry.get("platform"))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        and isinstance(digest := entry.get("digest"), str)
        and digest in held
    ]
    return tuple(dict.fromkeys(platform for platform in found if platform))


def config_digest(content: bytes) -> str:
    """The digest of a manifest's configuration; empty where there is none."""
    config = _document(content).get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    return digest if isinstance(digest, str) else ""


def of_config(content: bytes) -> tuple[str, ...]:
    """The platform that a configuration is for, if it says one."""
    platform = _spelt(_document(content))
    return (platform,) if platform else ()


def _spelt(platform: object) -> str:
    """`os/architecture[/variant]`; empty where either is missing or unknown."""
    if not isinstance(platform, dict):
        return ""
    system, *rest = (platform.get(name) for name in ("os", "architecture", "variant"))
    words = [word for word in (system, *rest) if isinstance(word, str) and word]
    sound = all(word.isascii() and word.isprintable() and " " not in word for word in words)
    if not sound or len(words) < 2 or _UNKNOWN in words or not system:
        return ""
    return "/".join(words)[:64]


def _document(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
