"""``--resolve``, an override of DNS as curl's, for the connections that mitmproxy makes itself.

The address is replaced where names are resolved, not in the flow: mitmproxy reuses a server
connection by the address that was asked for, and gives up after five that it cannot reuse.
"""

import asyncio
from typing import Any

from entrepot.config.addresses import Resolve


def override_resolution(loop: asyncio.AbstractEventLoop, entries: tuple[Resolve, ...]) -> None:
    """Let ``loop`` resolve the named hosts and ports as the entries say."""
    table = {(e.host, e.port): (e.address, e.target_port) for e in entries}
    original = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        address, target = table.get((str(name).lower().rstrip("."), port), (host, port))
        return await original(address, target, **options)

    if table:
        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
