"""A request of a push as it passes: its body comes, then the registry's answer, or neither.

What takes the body in never blocks and never raises: the push goes on whatever becomes of it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from entrepot.protocol.manifests import MAX_SIZE
from entrepot.protocol.messages import Fields

MOST_IN_TEXTS = 16 * 1024 * 1024


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


class Texts:
    """Manifests under way, ``most`` bytes in all: the one that rested longest makes place."""

    def __init__(self, most: int = MOST_IN_TEXTS) -> None:
        self.size = 0
        """Bytes in memory."""
        self._most = most
        self._open: OrderedDict[Text, None] = OrderedDict()

    def begin(self) -> "Text":
        """Begin one."""
        return Text(self)

    def take(self, text: "Text", count: int) -> None:
        """Count bytes of a text; where they are too many, others lose theirs."""
        self._open[text] = None
        self._open.move_to_end(text)
        self.size += count
        while self.size > self._most:
            next(iter(self._open)).give_up()

    def give(self, text: "Text", count: int) -> None:
        """Count a text that has no bytes any more."""
        self._open.pop(text, None)
        self.size -= count


class Text:
    """A body that must fit into memory: a manifest."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._parts: list[bytes] = []
        self._size = 0
        self._is_given_up = False

    def add(self, data: bytes) -> None:
        """The next bytes, unless they are too many."""
        if self._size + len(data) > MAX_SIZE:
            self.give_up()
        elif not self._is_given_up:
            self._size += len(data)
            self._parts.append(data)
            self._texts.take(self, len(data))

    def give_up(self) -> None:
        """Let go of it: it is too large, or others need the place."""
        self._is_given_up = True
        self.close()

    def whole(self) -> bytes | None:
        """The body; None where it was given up."""
        return None if self._is_given_up else b"".join(self._parts)

    def close(self) -> None:
        """Let go of it."""
        self._texts.give(self, self._size)
        self._parts, self._size = [], 0
