"""A large blob from an upstream that is slow on each connection, by several at once.

The rest of a running transfer is cut into pieces, which up to three more connections fetch ahead
with Range, each into an unnamed file. They are given back in order, as if they came on one
connection: whoever reads sees one stream, hashes it once, and writes it once, so that what is
on the disk under the blob's name has never a hole.

Content networks limit each connection, and one connection fills a long line only slowly; where
upstream is fast, or we are what is slow, one connection is enough and this is not used.
"""

import os
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import IO

from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Origin

CONNECTIONS = 4
SMALLEST_BLOB = 32 * 1024 * 1024
_LARGEST_PIECE = 16 * 1024 * 1024
_SMALLEST_PIECE = 2 * 1024 * 1024
_READ = 256 * 1024
_ATTEMPTS = 2

_MOST_FURTHER = 16
_MOST_FURTHER_OF_HOST = 12


class ConnectionBudget:
    """How many further connections all downloads together may have, and those from one host."""

    def __init__(self, most: int = _MOST_FURTHER, of_host: int = _MOST_FURTHER_OF_HOST) -> None:
        self.most = most
        self._of_host = of_host
        self._taken: Counter[Origin] = Counter()
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How many are left."""
        return self.most - self._taken.total()

    def take(self, host: Origin) -> bool:
        """Take one; False where there is none for this host."""
        with self._lock:
            if self._taken.total() >= self.most or self._taken[host] >= self._of_host:
                return False
            self._taken[host] += 1
            return True

    def give(self, host: Origin) -> None:
        """Give one back."""
        with self._lock:
            self._taken[host] -= 1
            self._taken += Counter()  # forgets hosts that have none


budget = ConnectionBudget()


class _Piece:
    """A stretch of the blob, growing in a file of its own."""

    def __init__(self, start: int, stop: int, folder: Path) -> None:
        self.start = start
        self.stop = stop
        self.filled = 0
        self.error: UpstreamError | None = None
        self.file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115 it is closed by let_go
            dir=folder, buffering=0
        )
        self._holders = 2

    def let_go(self) -> None:
        """Close the file once both are through, who fills it and who reads it; under the lock."""
        self._holders -= 1
        if not self._holders:
            self.file.close()


class ParallelRanges:
    """The rest of a blob, fetched by several connections and read in order, as a ``Reply`` is."""

    def __init__(
        self,
        first: Reply,
        at: int,
        size: int,
        *,
        ask: Callable[[int, int], Reply],
        folder: Path,
    ) -> None:
        """Go on from ``first``, whose next byte is at ``at``, to ``size``.

        ``ask`` requests the bytes from an offset up to another; files are made in ``folder``.
        """
        self._ask = ask
        self._folder = folder
        self._size = size
        self._at = at
        self._next = at + _length_of_piece(size - at)
        self._host = first.target.origin
        self._first: Reply | None = first
        self._first_stop = self._next
        self._pieces: deque[_Piece] = deque()
        self._closed = False
        self._error: UpstreamError | None = None
        self._aborted = False
        self._calls: set[Call] = set()
        self._changed = threading.Condition()

    def start(self) -> bool:
        """Open the further connections; False where there are none to spare."""
        return sum(self._hire() for _ in range(CONNECTIONS - 1)) > 0

    def read(self, most: int) -> bytes:
        """The next bytes in order. Raises :class:`UpstreamError` where they cannot be had."""
        if self._first is not None:
            data = self._first.read(min(most, self._first_stop - self._at))
            self._at += len(data)
            if self._at == self._first_stop:
                self._first.close()
                self._first = None
                self._hire()
            return data
        piece = self._arrived()
        if piece is None:
            return b""
        offset = self._at - piece.start
        data = os.pread(piece.file.fileno(), min(most, piece.filled - offset), offset)
        self._at += len(data)
        return data

    def close(self) -> None:
        """End every connection soon."""
        if self._first is not None:
            self._first.close()
        with self._changed:
            self._closed = True
            calls = list(self._calls)
            while self._pieces:
                self._pieces.popleft().let_go()
            self._changed.notify_all()
        for call in calls:
            call.abort()

    def abort(self) -> None:
        """Break it off, from another thread than that which reads it, and hears of it."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def _arrived(self) -> _Piece | None:
        """Wait until the piece that is next has bytes; None at the end."""
        with self._changed:
            while self._at < self._size:
                if self._aborted:
                    raise UpstreamError("it was broken off")
                piece = self._pieces[0] if self._pieces else None
                if piece is not None and self._at == piece.stop:
                    self._pieces.popleft().let_go()
                    self._changed.notify_all()
                elif piece is not None and piece.start + piece.filled > self._at:
                    return piece
                elif error := (piece.error if piece is not None else self._error):
                    raise error
                else:
                    self._changed.wait()
        return None

    # On the threads of the connections

    def _hire(self) -> bool:
        """Start one more connection, if it is not one too many."""
        if not budget.take(self._host):
            return False
        threading.Thread(target=self._work, name="piece", daemon=True).start()
        return True

    def _work(self) -> None:
        call = Call()
        with self._changed:
            self._calls.add(call)
        try:
            with making(call):
                self._fill_all()
        except OSError as error:  # no file could be made
            with self._changed:
                self._error = UpstreamError(f"a piece could not be kept: {error.strerror}")
                self._changed.notify_all()
        finally:
            with self._changed:
                self._calls.discard(call)
            budget.give(self._host)

    def _fill_all(self) -> None:
        while (piece := self._take()) is not None:
            self._fill(piece)
            with self._changed:
                piece.let_go()

    def _take(self) -> _Piece | None:
        """The next piece that nobody fetches, once it is not too far ahead; None at the end."""
        with self._changed:
            while len(self._pieces) >= CONNECTIONS and not self._closed:
                self._changed.wait()
            left = self._size - self._next
            if self._closed or self._aborted or left <= 0:
                return None
            stop = self._next + min(left, _length_of_piece(left))
            piece = _Piece(self._next, stop, self._folder)
            self._next = stop
            self._pieces.append(piece)
            return piece

    def _fill(self, piece: _Piece) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                self._fetch(piece)
            except UpstreamError as error:
                problem = error
            except OSError as error:
                problem = UpstreamError(f"a piece could not be kept: {error.strerror}")
            else:
                return
            if attempt + 1 == _ATTEMPTS or self._closed or self._aborted:
                with self._changed:
                    piece.error = problem
                    self._changed.notify_all()
                return

    def _fetch(self, piece: _Piece) -> None:
        start = piece.start + piece.filled
        with self._ask(start, piece.stop) as reply:
            _check(reply, start, self._size)
            while not self._closed and piece.start + piece.filled < piece.stop:
                data = reply.read(min(_READ, piece.stop - piece.start - piece.filled))
                if not data:
                    raise UpstreamError(f"{reply.target.origin}: it sent less than was asked for")
                _write(piece.file, data)
                with self._changed:
                    piece.filled += len(data)
                    self._changed.notify_all()


def _length_of_piece(left: int) -> int:
    """Large while much is left, small near the end, so that all end at about the same time."""
    return max(_SMALLEST_PIECE, min(_LARGEST_PIECE, left // (2 * CONNECTIONS)))


def _check(reply: Reply, start: int, size: int) -> None:
    """Refuse what is not the part that was asked for."""
    found = reply.content_range
    if found is None or found.first != start or found.size not in (None, size):
        raise UpstreamError(f"{reply.target.origin}: it does not give parts of a blob")


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
