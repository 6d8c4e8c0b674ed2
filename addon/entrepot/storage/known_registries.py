"""Which hosts are registries, as far as that was found out (``upstream.discovery``)."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from entrepot.protocol.identifiers import Origin
from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.index_rows import IndexRows
from entrepot.storage.errors import Health, guarded


@dataclass(frozen=True, slots=True)
class HostEntry:
    """What is known of a host: whether it is a registry, and until when that counts."""

    registry: bool
    until: float


class KnownHosts:
    """Hosts by origin."""

    def __init__(self, index: IndexRows, clock: Callable[[], float], health: Health) -> None:
        self._index = index
        self._clock = clock
        self._health = health

    @guarded
    def get(self, origin: Origin) -> HostEntry | None:
        """What is known of a host; also where ``until`` has passed."""
        try:
            return HostEntry(**self._index.document(keys.host(origin)))
        except TypeError:
            return None

    @guarded
    def set(self, origin: Origin, *, registry: bool, seconds: float) -> None:
        """Remember whether a host is a registry; after ``seconds`` it is to be asked again."""
        row = asdict(HostEntry(registry, self._clock() + seconds))
        self._index.put(keys.host(origin), json.dumps(row))
