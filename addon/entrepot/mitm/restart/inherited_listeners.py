"""Listeners of mitmproxy's on sockets that are open already (``app.socket_activation``).

mitmproxy makes the sockets of its servers itself, each server in its ``listen``: that is where
those are put that there are, in the one line in which asyncio takes a socket instead of an address.
Internal to mitmproxy 11.0 to 12.3; ``tests/wire/test_socket_activation.py`` fails where it moves.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from mitmproxy.proxy.mode_servers import AsyncioServerInstance

_BACKLOG = 4096
"""Clients that may wait, as many as systemd lets; the kernel's ``somaxconn`` bounds it."""


class InheritedListeners:
    """The sockets of each listener that has any, by what mitmproxy calls its mode."""

    def __init__(self, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        self._sockets = sockets

    def put_in_place(self) -> None:
        """Have mitmproxy's servers accept on these; it makes those of all others."""
        if not self._sockets:
            return
        sockets, listen = self._sockets, AsyncioServerInstance.listen

        async def listen_or_inherit(server: Any, host: str, port: int) -> Any:
            inherited = sockets.get(server.mode.full_spec)
            if inherited is None:
                return await listen(server, host, port)
            return [
                await asyncio.start_server(server.handle_stream, sock=one, backlog=_BACKLOG)
                for one in inherited
            ]

        AsyncioServerInstance.listen = listen_or_inherit  # type: ignore[method-assign, assignment]

    def stop_accepting(self) -> None:
        """Leave whoever connects from now on to the next process, which gets the same sockets."""
        loop = asyncio.get_running_loop()
        for sockets in self._sockets.values():
            for one in sockets:
                loop.remove_reader(one)

    def includes(self, mode: str) -> bool:
        """Whether the listener of a mode accepts on a socket that outlives the process."""
        return mode in self._sockets
