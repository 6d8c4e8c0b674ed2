"""Making a TCP connection within one deadline, for its name and all of its addresses together.

``getaddrinfo`` knows no deadline: where a resolver's packets are dropped it takes 10 to 30 s. And
Docker Hub has eight addresses, each of which would be waited for in turn. So a name is looked up
on a thread that may be left behind, one for all who want that name, and every 250 ms one more
address is tried, families in turn, until one answers (RFC 8305) or the time is over. Addresses to
which the caller may not be led are left out before the first is tried.
"""

import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from entrepot.http_client.connect.ssrf_guard import DestinationError

STAGGER_SECONDS = 0.25
_LOOK_UPS_AT_ONCE = 512
"""Of names that hang: those of one host are one."""

Address: TypeAlias = tuple[socket.AddressFamily, Any]
"""A family and an address of it, as ``socket.connect`` takes it."""
Options: TypeAlias = Sequence[tuple[int, int, int | bytes]]
AddressGuard: TypeAlias = Callable[[str, int], str | None]
"""Says of an address and a port why they are not to be connected to; None where they are."""

_lock = threading.Lock()
_running: "dict[tuple[str, int], Future[list[Address]]]" = {}


class NameTimeoutError(TimeoutError):
    """Nobody said in time which addresses a name has."""


def connect(
    host: str, port: int, seconds: float, options: Options = (), refusal: AddressGuard | None = None
) -> socket.socket:
    """Connect by TCP, and leave ``seconds`` as the socket's timeout.

    Raises ``socket.gaierror`` or :class:`NameTimeoutError` for the name, ``DestinationError``
    where each of its addresses is refused, else OSError: TimeoutError where no address answered
    in time.
    """
    until = time.monotonic() + seconds
    addresses = look_up(host, port, seconds)
    if refusal is not None:
        addresses = _allowed(addresses, refusal)
    sock = first_of(addresses, until - time.monotonic(), options)
    sock.settimeout(seconds)
    return sock


def _allowed(addresses: list[Address], refusal: AddressGuard) -> list[Address]:
    reasons = [refusal(str(address[0]), address[1]) for _, address in addresses]
    allowed = [pair for pair, why in zip(addresses, reasons, strict=True) if why is None]
    if addresses and not allowed:
        raise DestinationError(reasons[0])
    return allowed


def look_up(host: str, port: int, seconds: float) -> list[Address]:
    """The addresses of a name, families in turn, the preferred one first."""
    found = _looking_up(host, port)
    if found is None or not wait([found], timeout=seconds).done:
        raise NameTimeoutError(f"no address of {host} in {seconds:g} s")
    return _in_turn(found.result())


def _looking_up(host: str, port: int) -> "Future[list[Address]] | None":
    """The one look-up of a name that is under way; None where there are too many of others."""
    with _lock:
        found = _running.get((host, port))
        if found is None and len(_running) < _LOOK_UPS_AT_ONCE:
            found = Future()
            arguments = (host, port, found)
            name = f"look up {host}"
            threading.Thread(target=_ask, args=arguments, name=name, daemon=True).start()
            _running[host, port] = found
        return found


def _ask(host: str, port: int, found: "Future[list[Address]]") -> None:
    problem: OSError | None = None
    addresses: list[Address] = []
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [(family, address) for family, _, _, _, address in rows]
    except OSError as error:
        problem = error
    except UnicodeError:  # no name of a host
        problem = socket.gaierror(socket.EAI_NONAME, "it is no name of a host")
    with _lock:
        del _running[host, port]
    if problem is None:
        found.set_result(addresses)
    else:
        found.set_exception(problem)


def _in_turn(addresses: list[Address]) -> list[Address]:
    preferred = [pair for pair in addresses if pair[0] == addresses[0][0]]
    others = [pair for pair in addresses if pair[0] != addresses[0][0]]
    pairs = chain.from_iterable(zip_longest(preferred, others))
    return [pair for pair in pairs if pair is not None]


def first_of(addresses: Iterable[Address], seconds: float, options: Options = ()) -> socket.socket:
    """Connect to whichever answers first. Raises OSError."""
    until = time.monotonic() + seconds
    left, tried = deque(addresses), dict[int, socket.socket]()
    problem: OSError = ConnectionError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    poll = select.poll()
    try:
        while left or tried:
            if left:
                try:
                    sock = _begin(*left.popleft(), options)
                    tried[sock.fileno()] = sock
                    poll.register(sock, select.POLLOUT)
                except OSError as error:
                    problem = error
                    continue
            remaining = until - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            for number, _ in poll.poll(1000 * min(remaining, STAGGER_SECONDS)):
                poll.unregister(number)
                sock = tried.pop(number)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return sock
                sock.close()
                problem = OSError(code, os.strerror(code))
    finally:
        for sock in tried.values():
            sock.close()
    raise problem


def _begin(family: socket.AddressFamily, address: Any, options: Options) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(0)
        sock.connect(address)
    except BlockingIOError:  # under way
        pass
    except BaseException:
        sock.close()
        raise
    return sock
