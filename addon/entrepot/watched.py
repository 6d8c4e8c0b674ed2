"""A request of a push as it passes: its body comes, then the registry's answer, or neither.

What takes the body in never blocks and never raises: the push goes on whatever becomes of it.
"""

from collections.abc import Callable
from typing import Protocol

from entrepot.drafts import Waiting
from entrepot.manifest import MAX_SIZE
from entrepot.message import Fields


class Sink(Protocol):
    """Takes in a body."""

    def add(self, data: bytes) -> None:
        """The next bytes."""

    def close(self) -> None:
        """Let go of them; twice is harmless."""


class Watched:
    """One request; ``answered`` is called for an answer to all of it, else ``sink`` is closed."""

    def __init__(self, sink: Sink, answered: Callable[[int, Fields], None]) -> None:
        self._sink = sink
        self._answered = answered
        self._is_whole = False
        self._is_over = False

    def add(self, data: bytes) -> None:
        """Take in the next bytes of the body; empty at its end."""
        if not data:
            self._is_whole = True
        elif not self._is_over:
            self._sink.add(data)

    def answered(self, status: int, fields: Fields) -> None:
        """Take in the registry's answer; one that came before the end of the body is none."""
        if not self._is_whole:
            self.broken()
        elif not self._is_over:
            self._is_over = True
            self._answered(status, fields)

    def broken(self) -> None:
        """Take in that no answer comes any more; nothing where one came."""
        if not self._is_over:
            self._is_over = True
            self._sink.close()


class Text:
    """A body that must fit into memory: a manifest."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._parts: list[bytes] = []
        self._size = 0
        self._is_too_large = False

    def add(self, data: bytes) -> None:
        """The next bytes, unless they are too many, here or in all that wait in memory."""
        fits = self._size + len(data) <= MAX_SIZE and not self._is_too_large
        if fits and self._waiting.take(len(data)):
            self._size += len(data)
            self._parts.append(data)
        else:
            self._is_too_large = True
            self.close()

    def whole(self) -> bytes | None:
        """The body; None where it was too large."""
        return None if self._is_too_large else b"".join(self._parts)

    def close(self) -> None:
        """Let go of it."""
        self._waiting.give(self._size)
        self._parts, self._size = [], 0
