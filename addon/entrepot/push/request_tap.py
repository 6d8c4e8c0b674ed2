"""A tap on a request of a push: its body as it passes, then the registry's answer, or neither.

What takes the body in never blocks and never raises: the push goes on whatever becomes of it.
"""

from collections.abc import Callable
from typing import Protocol

from entrepot.protocol.messages import Fields


class Sink(Protocol):
    """Takes in a body."""

    def add(self, data: bytes) -> None:
        """The next bytes."""

    def close(self) -> None:
        """Let go of them; twice is harmless."""


class RequestTap:
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
        """Let go of the body, unless it was answered: the client or the registry has left."""
        if not self._is_over:
            self._is_over = True
            self._sink.close()
