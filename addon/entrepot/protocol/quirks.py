"""The registries that are so well known that nobody has to ask them what they are."""

import re

from entrepot.protocol.identifiers import Origin

_KNOWN = re.compile(
    r"(?:registry-1|index|auth)\.docker\.io"
    r"|ghcr\.io|quay\.io|(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev"
    r"|registry\.k8s\.io|mcr\.microsoft\.com|public\.ecr\.aws"
    r"|[0-9]{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"
    r"|[a-z0-9]+\.azurecr\.io|registry\.gitlab\.com|nvcr\.io|docker\.elastic\.co"
    r"|registry\.(?:access\.)?redhat\.(?:com|io)"
)
"""Registries whose ``/v2/`` is not known to say what the probe wants to hear, or that so many
use that the first pull should not wait for it. Port 443 only."""


def is_well_known(origin: Origin) -> bool:
    """Whether a well-known registry is there, or its token server."""
    https = origin.port == 443 and origin.scheme == "https"
    return https and _KNOWN.fullmatch(origin.host) is not None
