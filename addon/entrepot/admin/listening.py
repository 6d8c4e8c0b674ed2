"""The page at an address of its own (``--admin``), served by uvicorn on the page's loop."""

import asyncio
import logging
import socket
from collections.abc import Sequence

import uvicorn

from entrepot.admin.handover import Application

_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 30


async def serve(
    application: Application, sockets: Sequence[socket.socket], stopping: asyncio.Event
) -> None:
    """Serve until ``stopping`` is set."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # failures are events of ours
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http="h11",
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # anybody could say that it is somebody else
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await serving
