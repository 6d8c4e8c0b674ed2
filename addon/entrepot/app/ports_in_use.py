"""Whether the addresses to listen on can be had, before anything is made or left behind."""

import socket
from collections.abc import Container
from contextlib import ExitStack

from entrepot.app.socket_activation import Place, places
from entrepot.app.start_error import StartError
from entrepot.config.settings import Config


def try_to_listen(config: Config, handed: Container[Place] = ()) -> None:
    """Raise :class:`StartError` where an address is taken; mitmproxy says it as a tuple.

    ``handed``: for these there are sockets already.
    """
    with ExitStack() as held:  # all at once: each may stand in the way of another
        for place, option in places(config):
            if place not in handed:
                held.enter_context(_bound(place, option))


def _bound(listen: Place, option: str) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        tried = socket.socket(family, kind, protocol)
        try:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen()
        except OSError:
            tried.close()
            raise
    except socket.gaierror as error:
        raise StartError(f"cannot listen on {listen}: the name does not resolve") from error
    except OSError as error:
        reason = (error.strerror or "it cannot be had").lower()
        raise StartError(f"cannot listen on {listen}: {reason}; see {option}") from error
    return tried
