"""A list on its way to a client, of which a copy is kept when it is whole."""

from collections.abc import Awaitable, Callable

from entrepot.protocol.messages import CHUNK, Body, Stretch


class KeptBody:
    """A body that is passed on as it comes, and handed over when it has ended."""

    def __init__(self, body: Body, most: int, keep: Callable[[bytes], Awaitable[None]]) -> None:
        """``keep`` gets all of it, where that is no more than ``most`` bytes."""
        self._body = body
        self._most = most
        self._keep = keep
        self._copy: bytearray | None = bytearray()
        self.size = body.size

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        data = await self._body.read(most)
        copy = self._copy
        if copy is None:
            return data
        copy += data
        if not data:
            self._copy = None
            await self._keep(bytes(copy))
        elif len(copy) > self._most:
            self._copy = None
        return data

    def stretch(self, most: int) -> Stretch | None:
        """See ``messages.Body``."""
        return self._body.stretch(most)

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        self._body.skip(count)

    def close(self) -> None:
        """End the transfer; twice is harmless."""
        self._copy = None
        self._body.close()
