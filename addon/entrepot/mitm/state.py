"""The state that the hooks share: the running engine, and what listens and connects."""

from pathlib import Path

from mitmproxy import connection

from entrepot.app.composition import Engine
from entrepot.config.mirror_spec import Mirror
from entrepot.events.log import Events
from entrepot.upstream.discovery.interception import Role


class ProxyState:
    """The state of one proxy. It has no properties: mitmproxy reads every attribute of an addon."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.mirror_modes: dict[str, Mirror] = {}
        """The mirror of each listener, by what mitmproxy calls its mode."""
        self.roles: dict[str, Role] = {}
        """As what each intercepted connection is, by the client connection's id."""
        self.predecessors: dict[str, Path] = {}
        """By the client connection's id: the authority before, where that one signs for it."""
        self.proxy_port: int | None = None
        """The port of the proxy, once it listens."""

    def parts(self) -> Engine:
        """The engine. Raises RuntimeError before it runs: a hook must not do without."""
        if self.engine is None:
            raise RuntimeError("the cache has not started")
        return self.engine

    def events(self) -> Events:
        """The log, which a failure needs before the engine runs too."""
        return Events() if self.engine is None else self.engine.events


def client_of(conn: connection.Connection) -> str:
    """The address of a client, for decisions and for the log."""
    return conn.peername[0] if conn.peername else "?"
