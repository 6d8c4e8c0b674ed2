"""Notifications to systemd: that the proxy is ready, and that it stops (sd_notify(3)).

Whoever started the service then waits until it listens, and hears of a start that failed.
"""

import contextlib
import socket
from collections.abc import Mapping

_VARIABLE = "NOTIFY_SOCKET"


def notify_ready(environment: Mapping[str, str], status: str) -> None:
    """Say that clients are accepted; ``status`` is a line for people."""
    _notify(environment, f"READY=1\nSTATUS={status}")


def notify_stopping(environment: Mapping[str, str]) -> None:
    """Say that a stop has begun."""
    _notify(environment, "STOPPING=1\nSTATUS=letting pulls under way end")


def _notify(environment: Mapping[str, str], said: str) -> None:
    """Send it where somebody wants to know; a proxy serves also where nobody listens any more."""
    path = environment.get(_VARIABLE, "")
    if not path:
        return
    abstract = path.startswith("@")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(said.encode(), f"\0{path[1:]}" if abstract else path)
