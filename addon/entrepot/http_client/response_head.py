"""The head of upstream's answer, read within bounds that ``http.client`` does not set.

What it does alone: it passes over ``100 Continue`` only, however many come, and takes any other
interim answer (RFC 9110 section 15.2: 102, 103) for the last; each wait for bytes is bounded, not
the time until the head is there; where the connection ends within the head, or a line is no header
field, it takes what came before for the whole. Its own limits stay: 64 KiB a line, 100 fields.
"""

import contextlib
import io
import socket
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, LineTooLong, parse_headers
from typing import Any

from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing

MOST_INTERIM = 16
"""Interim answers before one; a registry has no reason for more than one or two."""


class HeadError(HTTPException):
    """A head that cannot be used; the text says why and quotes nothing of it."""


class Response(HTTPResponse):
    """An answer whose whole head must come within the time that the socket grants one read.

    So must what is read of its body :meth:`within` a time.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._timed = _Timed(sock)
        super().__init__(_File(self._timed), *args, **kwargs)  # type: ignore[arg-type]

    @property
    def carrier(self) -> socket.socket | None:
        """The socket that the body comes by; None once it is whole, since others may have it."""
        return None if self.isclosed() else self._timed.sock

    @property
    def patience(self) -> float | None:
        """Seconds that one wait for bytes may take; None where there is no limit."""
        return self._timed.patience

    @contextlib.contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Let all that is read meanwhile take so long together, however it drips.

        TimeoutError where it takes longer, as for a single wait; an outer limit counts too.
        """
        outer = self._timed.deadline
        self._timed.limit(seconds)
        try:
            yield
        finally:
            self._timed.deadline = outer
            if outer is None and not self.isclosed():
                self._timed.stop()

    def begin(self) -> None:
        """Read the head. Raises :class:`HeadError` and what ``http.client`` raises."""
        try:
            super().begin()
        except LineTooLong:
            raise HeadError("a line of its answer's head is too long") from None
        except HTTPException as error:
            if type(error) is HTTPException:  # http.client's only use of the bare class
                raise HeadError("its answer has too many header fields") from None
            raise
        if self._timed.ended:
            raise HeadError("its answer ended within the head")
        try:
            assert_header_parsing(self.headers)  # urllib3 would log it, with the URL, and go on
        except HeaderParsingError:
            raise HeadError("a line of its answer's head is no header field") from None
        self._timed.stop()

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the answer, behind the interim ones; ``begin`` asks for it."""
        for _ in range(MOST_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == 101:
                raise HeadError("it switches to a protocol that nobody asked for")
            if status >= 200:
                return version, status, reason
            parse_headers(self.fp)
            if self._timed.ended:
                raise HeadError("its answer ended within the head")
        raise HeadError("it sent interim answers without end")


class _File:
    """What ``HTTPResponse`` asks of a socket."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._raw)


class _Timed(io.RawIOBase):
    """A socket's bytes; until ``stop``, they must all come within one timeout of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self.patience = sock.gettimeout()
        self.deadline: float | None = None
        self.limit(self.patience)
        self.ended = False

    def limit(self, seconds: float | None) -> None:
        """Let what comes from here on take so long together, or until the deadline there is."""
        if seconds is not None:
            until = time.monotonic() + seconds
            self.deadline = until if self.deadline is None else min(until, self.deadline)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self.sock.settimeout(left)
        count = self._raw.readinto(buffer) or 0
        self.ended = count == 0
        return count

    def stop(self) -> None:
        """Bound each wait alone from here on."""
        self.deadline = None
        self.sock.settimeout(self.patience)

    def close(self) -> None:
        self._raw.close()
        super().close()
