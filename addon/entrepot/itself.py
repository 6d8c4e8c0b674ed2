"""Whether an address is that of this proxy itself, to which it must not send what it is asked."""

import socket

from entrepot.mirror import Mirror
from entrepot.places import Listen, UpstreamProxy
from entrepot.reference import Origin


def is_itself(server: UpstreamProxy | Origin, listen: Listen | Mirror) -> bool:
    """Whether a server is the one that listens here; False where its name does not resolve."""
    if server.port != listen.port:
        return False
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_is_ours(family, address[0]) for family, _, _, _, address in found)


def _is_ours(family: int, address: object) -> bool:
    """Whether this machine has an address: nobody else can bind to it."""
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True
