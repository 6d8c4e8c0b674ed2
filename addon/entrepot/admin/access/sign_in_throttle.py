"""The throttle of wrong tokens: some tries a client, some more of all, then a minute's rest."""

from collections.abc import Callable

from entrepot.bounded_map import BoundedMap

REST_SECONDS = 60.0
MOST_OF_CLIENT = 5
MOST_OF_ALL = 50
_MOST_CLIENTS = 1000


class SignInThrottle:
    """Counts failures by client address; on one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` never jumps."""
        self._clock = clock
        self._failed: BoundedMap[str, tuple[float, int]] = BoundedMap(_MOST_CLIENTS)
        self._all: tuple[float, int] = (0.0, 0)

    def wait(self, client: str) -> float:
        """How many seconds this client has to wait before its next try."""
        own = self._left(self._failed.get(client, (0.0, 0)), MOST_OF_CLIENT)
        return max(own, self._left(self._all, MOST_OF_ALL))

    def failed(self, client: str) -> None:
        """Count a wrong token."""
        self._failed.put(client, self._counted(self._failed.get(client, (0.0, 0))))
        self._all = self._counted(self._all)

    def succeeded(self, client: str) -> None:
        """Forget this client's failures."""
        self._failed.pop(client)

    def _counted(self, before: tuple[float, int]) -> tuple[float, int]:
        now, (last, count) = self._clock(), before
        return now, count + 1 if now < last + REST_SECONDS else 1

    def _left(self, failures: tuple[float, int], most: int) -> float:
        last, count = failures
        return max(0.0, last + REST_SECONDS - self._clock()) if count >= most else 0.0
