"""A body of several parts, each of which is opened when its turn comes."""

from collections.abc import Callable

from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch
from entrepot.protocol.ranges.byte_ranges import Span
from entrepot.protocol.ranges.multipart import Multipart

_LARGE = 256 * 1024
"""Bytes of a part from which the kernel may send them by itself; less goes with its neighbours."""


class MultipartBody:
    """The parts of a :class:`Multipart`, one after another, with what frames them.

    Small parts of a file that is complete are handed over together; one that is still on its way
    holds nothing up that is here.
    """

    def __init__(
        self, framing: Multipart, open_part: Callable[[Span], Body], let_go: Callable[[], None]
    ) -> None:
        """``let_go`` ends what all parts are read from."""
        self.size: int | None = framing.length
        self._framing = framing
        self._open = open_part
        self._let_go = let_go
        self._next = 0
        self._part: Body | None = None
        self._left = 0
        """Bytes of the current part that are still to come."""
        self._text = b""
        """Framing that comes before them."""
        self._is_closed = False

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        gathered: list[bytes] = []
        room, has_data = most, False
        while room > 0 and (self._text or self._left or self._go_on()):
            if self._text:
                data, self._text = self._text[:room], self._text[room:]
            elif gathered and not self._goes_along(has_data=has_data):
                break
            else:
                data, has_data = await self._read_part(room), True
            gathered.append(data)
            room -= len(data)
        return b"".join(gathered)

    def _go_on(self) -> bool:
        """Turn to the next part, or to what ends them; whether there is anything more."""
        if self._is_closed:
            raise BodyError("it was closed")
        self._close_part()
        if self._next > len(self._framing):
            return False
        if self._next == len(self._framing):
            self._text = self._framing.end
        else:
            self._part = self._opened(self._framing.span(self._next))
            self._text = self._framing.before(self._next)
        self._next += 1
        return True

    def _opened(self, span: Span) -> Body:
        try:
            part = self._open(span)
        except OSError as error:
            raise BodyError(f"a part cannot be opened: {error.strerror}") from error
        self._left = span[1] - span[0]
        return part

    async def _read_part(self, room: int) -> bytes:
        if self._part is None:
            raise BodyError("it was closed")
        data = await self._part.read(min(room, self._left))
        if not data:
            raise BodyError("a part is shorter than it was said to be")
        self._left -= len(data)
        return data

    def _goes_along(self, *, has_data: bool) -> bool:
        """Whether the current part is handed over together with what was gathered before it.

        Not where the kernel may send it, nor where it may have to be waited for, and other parts
        would wait with it.
        """
        if self._part is None or self._part.stretch(1) is None:
            return not has_data
        return self._left < _LARGE

    def stretch(self, most: int) -> Stretch | None:
        """Where the bytes of a large part lie; see ``messages.Body``."""
        if self._text or self._left < _LARGE or self._part is None:
            return None
        return self._part.stretch(min(most, self._left))

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        if self._part is not None:
            self._part.skip(count)
        self._left -= count

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def close(self) -> None:
        """Let go of the part at hand and of what they are read from; twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            self._left, self._text = 0, b""
            self._close_part()
            self._let_go()

    def __del__(self) -> None:
        self.close()
