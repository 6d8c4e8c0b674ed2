"""The state that the hooks share: the running engine, and how many transfers are under way."""

import asyncio

from mitmproxy import connection

from entrepot.app.composition import Engine
from entrepot.config.mirror_spec import Mirror
from entrepot.events.log import Events
from entrepot.upstream.discovery.interception import Role


class ProxyState:
    """The state of one proxy. It has no properties: mitmproxy reads every attribute of an addon."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.draining = False
        self.mirror_modes: dict[str, Mirror] = {}
        """The mirror of each listener, by what mitmproxy calls its mode."""
        self.roles: dict[str, Role] = {}
        """As what each intercepted connection is, by the client connection's id."""
        self._busy = 0
        self._changed = asyncio.Event()

    def parts(self) -> Engine:
        """The engine. Raises RuntimeError before it runs: a hook must not do without."""
        if self.engine is None:
            raise RuntimeError("the cache has not started")
        return self.engine

    def events(self) -> Events:
        """The log, which a failure needs before the engine runs too."""
        return Events() if self.engine is None else self.engine.events

    def begin(self) -> None:
        """Count something that a stop should wait for."""
        self._busy += 1

    def end(self) -> None:
        """Count its end."""
        self._busy -= 1
        self._changed.set()

    async def drained(self, seconds: float) -> int:
        """Wait until nothing is under way, for a graceful stop; what still is after ``seconds``."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._busy:
            self._changed.clear()
            try:
                left = deadline - asyncio.get_running_loop().time()
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                break
        return self._busy


def client_of(conn: connection.Connection) -> str:
    """The address of a client, for decisions and for the log."""
    return conn.peername[0] if conn.peername else "?"
