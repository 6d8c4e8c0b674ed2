"""The head of upstream's answer, read within bounds that ``http.client`` does not set.

What it does alone: it passes over ``100 Continue`` only, however many come, and takes any other
interim answer (RFC 9110 section 15.2: 102, 103) for the last; each wait for bytes is bounded, not
the time until the head is there; where the connection ends within the head, or a line is no header
field, it takes what came before for the whole. Its own limits stay: 64 KiB a line, 100 fields.
"""

import io
import socket
import time
from http.client import HTTPException, HTTPResponse, LineTooLong, parse_headers
from typing import Any

from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing

MOST_INTERIM = 16
"""Interim answers before one; a registry has no reason for more than one or two."""


class HeadError(HTTPException):
    """A head that cannot be used; the text says why and quotes nothing of it."""


class Response(HTTPResponse):
    """An answer whose whole head must come within the time that the socket grants one read."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._timed = _Timed(sock)
        super().__init__(_File(self._timed), *args, **kwargs)  # type: ignore[arg-type]

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
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._patience = sock.gettimeout()
        self._deadline = None if self._patience is None else time.monotonic() + self._patience
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        count = self._raw.readinto(buffer) or 0
        self.ended = count == 0
        return count

    def stop(self) -> None:
        """Bound each wait alone from here on."""
        self._deadline = None
        self._sock.settimeout(self._patience)

    def close(self) -> None:
        self._raw.close()
        super().close()
