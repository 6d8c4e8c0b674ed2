"""Whether the addresses to listen on can be had, before anything is made or left behind."""

import socket
from contextlib import ExitStack

from entrepot.app.start_error import StartError
from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.settings import Config


def try_to_listen(config: Config) -> None:
    """Raise :class:`StartError` where an address is taken; mitmproxy says it as a tuple."""
    with ExitStack() as held:  # all at once: each may stand in the way of another
        held.enter_context(_bound(config.listen, "--listen"))
        if config.transparent is not None:
            held.enter_context(_bound(config.transparent, "--transparent"))
        for mirror in config.mirror:
            held.enter_context(_bound(mirror, "--mirror"))


def _bound(listen: Listen | Mirror, option: str) -> socket.socket:
    try:
        places = socket.getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = places[0]
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
