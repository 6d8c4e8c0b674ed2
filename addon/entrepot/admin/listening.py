"""The page at an address of its own (``--admin``), served by uvicorn on the page's loop."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from entrepot.admin.handover import Application

IDLE_SECONDS = 30.0
"""How long a connection may be there without a whole head of a request."""
_MOST_CONNECTIONS = 64


class PatientProtocol(H11Protocol):
    """A connection, which is closed where nothing is asked on it in time.

    By itself uvicorn waits for ever for a first request, and for the rest of a head; so 64 clients
    that do nothing would keep all others out.
    """

    def __init__(self, *words: Any, patience: float, **named: Any) -> None:
        """``patience`` is in seconds; all else is uvicorn's."""
        super().__init__(*words, **named)
        self._patience = patience
        self._answered: RequestResponseCycle | None = None
        self._timer: asyncio.TimerHandle | None = None

    # As uvicorn narrows it.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no more."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Close it unless a request is being answered, or was begun since the last look."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy and self.cycle is self._answered:
            self.transport.close()
            return
        self._answered = None if busy else self.cycle
        self._timer = self.loop.call_later(self._patience, self._look)


async def serve(
    application: Application,
    sockets: Sequence[socket.socket],
    stopping: asyncio.Event,
    patience: float = IDLE_SECONDS,
) -> None:
    """Serve until ``stopping`` is set."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # failures are events of ours
    config = uvicorn.Config(
        application,
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # anybody could say that it is somebody else
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=int(IDLE_SECONDS),
        timeout_graceful_shutdown=1,
    )
    config.load()
    # It wants a class, and calls it.
    config.http_protocol_class = partial(PatientProtocol, patience=patience)  # type: ignore[assignment]
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await serving
