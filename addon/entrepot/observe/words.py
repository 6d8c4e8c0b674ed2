"""Texts that many rows share, each kept once: names of clients, registries, repositories, reasons.

Without them a record would be thrice as large. A word is dropped once no record can have it any
more: each says when it was last used, to the hour.
"""

import sqlite3

from entrepot.bounded_map import BoundedMap

_MOST_REMEMBERED = 4096
_HOUR = 3600.0


class Words:
    """Numbers of words, within a transaction of the caller's."""

    def __init__(self) -> None:
        self._known: BoundedMap[str, tuple[int, float]] = BoundedMap(_MOST_REMEMBERED)

    def number(self, connection: sqlite3.Connection, word: str, now: float) -> int:
        """The number of a word, which is in the table from now on."""
        known = self._known.get(word)
        if known is not None and now < known[1] + _HOUR:
            return known[0]
        (number,) = connection.execute(
            "INSERT INTO words (word, used) VALUES (?, ?)"
            " ON CONFLICT (word) DO UPDATE SET used = max(used, excluded.used) RETURNING id",
            (word, now),
        ).fetchone()
        self._known.put(word, (number, now))
        return int(number)

    def forget(self) -> None:
        """Look each up again: the last transaction came to nothing, or words were dropped."""
        self._known.clear()

    def drop_unused(self, connection: sqlite3.Connection, oldest: float) -> None:
        """Drop what no record since ``oldest`` has used."""
        dropped = connection.execute("DELETE FROM words WHERE used < ?", (oldest - 2 * _HOUR,))
        if dropped.rowcount:
            self.forget()
