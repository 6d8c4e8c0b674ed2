"""Socket activation: listening sockets that systemd hands to the proxy (sd_listen_fds(3)).

systemd keeps them open while the proxy restarts, so that clients wait in their backlog instead of
being refused. What to listen on is said by the options all the same: each socket goes to the option
of its port, and must not listen wider than that says.
"""

import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TypeAlias

from entrepot.app.start_error import StartError
from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.settings import Config
from entrepot.protocol.identifiers import bracketed

Place: TypeAlias = Listen | Mirror
"""Where an option says to listen."""
Sockets: TypeAlias = tuple[socket.socket, ...]

_FIRST = 3
"""SD_LISTEN_FDS_START: the descriptors are this one and those that follow it."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@dataclass(frozen=True, slots=True)
class Handed:
    """A socket that systemd handed over, and what the .socket unit calls it."""

    socket: socket.socket
    name: str

    def __str__(self) -> str:
        return f"{_shown(self.socket)} (of {self.name})"


def take_sockets(environment: MutableMapping[str, str], pid: int) -> tuple[Handed, ...]:
    """Take the sockets that are meant for the process ``pid``, so that no child gets them too.

    None where there are none, or the variables were for a parent. Raises :class:`StartError`.
    """
    said = {name: environment.pop(name, "") for name in _VARIABLES}
    if said["LISTEN_PID"] != str(pid):
        return ()
    if not said["LISTEN_FDS"].isdecimal():
        raise StartError(f"expected a number in LISTEN_FDS, got {said['LISTEN_FDS']!r}")
    count = int(said["LISTEN_FDS"])
    names = said["LISTEN_FDNAMES"].split(":") if said["LISTEN_FDNAMES"] else []
    names += ["a .socket unit"] * (count - len(names))
    return tuple(_take(_FIRST + number, names[number]) for number in range(count))


def _take(descriptor: int, name: str) -> Handed:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 that is how it is declared
        handed = Handed(socket.socket(fileno=descriptor), name)
        listens = handed.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        reason = (error.strerror or "it is no socket").lower()
        raise StartError(
            f"descriptor {descriptor} (of {name}) was handed over: {reason}"
        ) from error
    if handed.socket.family not in (socket.AF_INET, socket.AF_INET6) or not listens:
        raise StartError(f"{handed}: expected a TCP socket that listens: see ListenStream=")
    if not _is_of_one_family(handed.socket):
        raise StartError(f"{handed} takes IPv4 too: set BindIPv6Only=ipv6-only, and name both")
    return handed


def _is_of_one_family(listening: socket.socket) -> bool:
    if listening.family == socket.AF_INET or listening.getsockname()[0] != "::":
        return True
    return bool(listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def places(config: Config) -> list[tuple[Place, str]]:
    """Where the options say to listen, each with the option that says so."""
    said: list[tuple[Place, str]] = [(config.listen, "--listen")]
    if config.transparent is not None:
        said.append((config.transparent, "--transparent"))
    if config.admin is not None:
        said.append((config.admin, "--admin"))
    return said + [(mirror, "--mirror") for mirror in config.mirror]


def assign_sockets(config: Config, handed: Iterable[Handed]) -> Mapping[Place, Sockets]:
    """Give each socket to the option that names its address, else to that of every address.

    An option without a socket listens by itself. Raises :class:`StartError` for a socket without
    an option: nobody would accept what waits there.
    """
    assigned: dict[Place, Sockets] = {}
    for one in handed:
        address, port = one.socket.getsockname()[:2]
        here = [(place, option) for place, option in places(config) if place.port == port]
        fitting = [place for place, _ in here if address in _addresses(place)]
        fitting += [place for place, _ in here if not place.host]
        if not fitting:
            raise StartError(f"no option is for {one}: {_why(here, port)}; see ListenStream=")
        assigned[fitting[0]] = (*assigned.get(fitting[0], ()), one.socket)
    return assigned


def _why(here: Iterable[tuple[Place, str]], port: int) -> str:
    named = " and ".join(f"{option} {place}" for place, option in here)
    if named:
        return f"{named} is for another address"
    return f"none of --listen, --transparent, --admin, --mirror names port {port}"


def _addresses(place: Place) -> set[str]:
    """The addresses of a host; none of a host that is every address."""
    if not place.host:
        return set()
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()  # it is said where the proxy would listen there
    return {str(address[0]) for *_, address in found}


def _shown(listening: socket.socket) -> str:
    name = listening.getsockname()
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return f"the socket {name!r}"
    return f"the socket {bracketed(name[0])}:{name[1]}"
