"""Making a connection within one deadline, for its name and for all of its addresses together.

``getaddrinfo`` knows no deadline: where a resolver's packets are dropped it takes 10 to 30 s. And
Docker Hub has eight addresses, each of which would be waited for in turn. So a name is looked up
on a thread that may be left behind, and every 250 ms one more address is tried, families in turn,
until one answers (RFC 8305) or the time is over. Addresses to which the caller may not be led are
left out before the first is tried.
"""

import errno
import os
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from entrepot.destinations import DestinationError

STAGGER_SECONDS = 0.25

Address: TypeAlias = tuple[socket.AddressFamily, Any]
"""A family and an address of it, as ``socket.connect`` takes it."""
Options: TypeAlias = Sequence[tuple[int, int, int | bytes]]
Refusal: TypeAlias = Callable[[str, int], str | None]
"""Says of an address and a port why they are not to be connected to; None where they are."""


class NameTimeoutError(TimeoutError):
    """Nobody said in time which addresses a name has."""


def connect(
    host: str, port: int, seconds: float, options: Options = (), refusal: Refusal | None = None
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


def _allowed(addresses: list[Address], refusal: Refusal) -> list[Address]:
    reasons = [refusal(str(address[0]), address[1]) for _, address in addresses]
    allowed = [pair for pair, why in zip(addresses, reasons, strict=True) if why is None]
    if addresses and not allowed:
        raise DestinationError(reasons[0])
    return allowed


def look_up(host: str, port: int, seconds: float) -> list[Address]:
    """The addresses of a name, families in turn, the preferred one first."""
    found: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([(family, address) for family, _, _, _, address in rows])
        except OSError as error:
            found.put(error)
        except UnicodeError:  # no name of a host
            found.put(socket.gaierror(socket.EAI_NONAME, "it is no name of a host"))

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    try:
        result = found.get(timeout=seconds)
    except queue.Empty:
        raise NameTimeoutError(f"no address of {host} in {seconds:g} s") from None
    if isinstance(result, OSError):
        raise result
    return _in_turn(result)


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
