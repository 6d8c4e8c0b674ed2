"""The sockets of ``--admin``, where the page is served beside the proxy's own address."""

import socket

from entrepot.config.addresses import Listen


def admin_sockets(place: Listen) -> list[socket.socket]:
    """Listen there. Raises OSError."""
    found = socket.getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            one = socket.socket(family, kind, protocol)
            listening.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen()
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening
