"""By which host names the page is reached: the check against DNS rebinding.

A site of an attacker's can have its own name resolve to the proxy's address, and then reads in a
browser what the proxy says to that browser. What the browser sends as ``Host`` is the attacker's
name all the same, so only names that are ours are answered: addresses (no name, so no rebinding),
``localhost``, the machine's own names, and those of ``--admin-host``.
"""

import contextlib
import socket
import threading
from collections.abc import Iterable

from entrepot.protocol.identifiers import is_ip_address, parse_host


class HostNames:
    """The names that are ours."""

    def __init__(self, named: Iterable[str]) -> None:
        self._names: frozenset[str] = frozenset({"localhost", *named})

    def learn_own(self) -> threading.Thread:
        """Find out how this machine is called; the thread that asks the DNS, which may hang."""
        name = socket.gethostname()
        self._add(name)
        self._add(f"{name}.local")
        asking = threading.Thread(
            target=lambda: self._add(socket.getfqdn(name)), name="own-name", daemon=True
        )
        asking.start()
        return asking

    def _add(self, name: str) -> None:
        with contextlib.suppress(ValueError):
            self._names |= {parse_host(name)}

    def include(self, authority: str) -> bool:
        """Whether a value of ``Host`` names this proxy."""
        host = host_of(authority)
        return host is not None and (is_ip_address(host) or host in self._names)


def host_of(authority: str) -> str | None:
    """The host of ``host[:port]``; None where it is none."""
    name, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        name = authority
    elif not port.isdecimal():
        return None
    try:
        return parse_host(name)
    except ValueError:
        return None
