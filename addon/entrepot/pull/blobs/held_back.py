"""A body whose last byte waits for a verdict on its bytes, which is found while it is read."""

import asyncio
from collections.abc import Awaitable

from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch


class HeldBackBody:
    """A body of known size; its end comes when the bytes that it is from turn out to be right."""

    def __init__(self, body: Body, verdict: Awaitable[bool]) -> None:
        """``verdict`` may be awaited by many; it is never ended by who reads."""
        if body.size is None:
            raise ValueError("expected a body of known size")
        self.size: int | None = body.size
        self._body = body
        self._verdict = verdict
        self._left = body.size
        self._is_right = False

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        if self._left == 1 and not self._is_right:
            if not await asyncio.shield(asyncio.ensure_future(self._verdict)):
                raise BodyError("its bytes do not hash to the digest")
            self._is_right = True
        data = await self._body.read(min(most, max(1, self._left - 1)))
        self._left -= len(data)
        return data

    def stretch(self, most: int) -> Stretch | None:
        """All but the last byte of it; see ``messages.Body``."""
        return self._body.stretch(min(most, self._left - 1)) if self._left > 1 else None

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        self._body.skip(count)
        self._left -= count

    def close(self) -> None:
        """See ``messages.Body``."""
        self._body.close()
