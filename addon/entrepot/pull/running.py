"""What is being fetched now, as plain values for who watches: how far, how fast, for whom."""

from collections.abc import Mapping
from dataclasses import dataclass

from entrepot.pull.pull import Key
from entrepot.transfer.download import Download


@dataclass(frozen=True, slots=True)
class RunningFetch:
    """A blob on its way; sizes in bytes, times in seconds."""

    registry: str
    """Its origin, as ``https://host[:port]``."""
    repositories: tuple[str, ...]
    """Where upstream confirmed that it is, by name."""
    digest: str
    written: int
    size: int | None
    """None where upstream has not said."""
    rate: float
    """Bytes a second of late."""
    age: float
    waiting: int
    """Clients that read it at the moment."""
    clients: tuple[str, ...]
    """Addresses of those who asked for it."""

    @property
    def left(self) -> float | None:
        """Seconds until it is here, if it goes on like that; None where nobody can say."""
        if self.size is None or self.rate < 1:
            return None
        return max(0, self.size - self.written) / self.rate


def running_fetches(running: Mapping[Key, Download], now: float) -> list[RunningFetch]:
    """Look at all that run; ``now`` by the clock that they were begun by."""
    found = [_look(str(key[0]), download, now) for key, download in running.items()]
    return sorted(found, key=lambda fetch: -fetch.age)


def _look(registry: str, download: Download, now: float) -> RunningFetch:
    return RunningFetch(
        registry,
        tuple(sorted(repository.name for repository in download.repositories)),
        str(download.digest),
        download.file.written,
        download.file.size,
        download.rate(),
        max(0.0, now - download.began),
        download.file.followers,
        tuple(client for client in download.clients if client),
    )
