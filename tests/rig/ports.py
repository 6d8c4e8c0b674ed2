"""Free loopback ports for servers that cannot report the one they bound.

A port that was probed and closed again can be lost twice: to an outgoing connection (hence ports
below the ephemeral range) and to another test run (hence a lock: an abstract Unix socket, which
the kernel drops when this process ends).
"""

import random
import socket
from pathlib import Path

_LOWEST = 15000
_TRIES = 1000
_held: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback TCP port that is nobody else's until this process ends."""
    highest = _first_ephemeral_port() - 1
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)  # noqa: S311 - not a secret
        if _lock(port) and _is_free(port):
            return port
    raise RuntimeError(f"no free port between {_LOWEST} and {highest}")


def _lock(port: int) -> bool:
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(f"\0entrepot-rig-port-{port}")
    except OSError:
        holder.close()
        return False
    _held.append(holder)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first_ephemeral_port() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
