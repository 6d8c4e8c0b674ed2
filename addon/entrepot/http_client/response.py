"""What an upstream answers: the head at once, the body as it is read, or drained, or left."""

import contextlib
import select
import socket
import zlib
from collections.abc import Callable
from http.client import HTTPException
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util.ssltransport import SSLTransport

from entrepot.http_client import cancellable_call
from entrepot.http_client.connect.tls_socket import TLSSocket
from entrepot.http_client.errors import UpstreamError, failure, reason_of
from entrepot.http_client.gunzip import Gunzip, is_encoded
from entrepot.http_client.request import Target
from entrepot.http_client.response_head import Response
from entrepot.protocol.headers import ContentRange
from entrepot.protocol.messages import Fields, field_values
from entrepot.protocol.network_reach import Reach

_CHUNK = 64 * 1024
_SMALL = 16 * 1024
_SNIFFED = 512
"""Bytes that tell how a body is encoded."""
_LEAST_PACE = 32 * 1024
"""Bytes a second with which a body that is read whole has to come, beside..."""
_READ_SECONDS = 60.0
"""...so many seconds in any case."""
_DRAIN_SECONDS = 2.0
"""What a connection that serves again may cost; a new one is made in less."""


class Reply:
    """Upstream's answer: status and fields at once, the body as it is read.

    Whoever gets one closes it, or drains it where the connection is to serve again.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        target: Target,
        asked: Fields = (),
        peer: str | None = None,
        reach: Reach = Reach.FAR,
    ) -> None:
        self._response = response
        original = getattr(response, "_original_response", None)
        self._source = original if isinstance(original, Response) else None
        self.target = target
        """Where it came from, after redirects."""
        self.asked = asked
        """The header fields that were sent there."""
        self.peer = peer
        """The address that answered; None where it was asked through the upstream proxy."""
        self.reach = reach
        """How far whoever named it may be led (``ssrf_guard``)."""
        self.status = response.status
        self.headers: Fields = tuple(response.headers.items())
        self.on_break: Callable[[str], None] | None = None
        """Called, with the reason, where the body breaks off while it is read for somebody."""
        self._broken: UpstreamError | None = None
        self._gunzip: Gunzip | None = None
        self._peeked = b""

    def undo_encoding(self) -> None:
        """Decode the body as it is read, where it was compressed though nobody asked for it.

        Raises :class:`UpstreamError` where the body cannot be begun.
        """
        coding = (self._response.headers.get("Content-Encoding") or "").strip().lower()
        if coding not in ("gzip", "x-gzip"):
            return
        first = b""
        try:
            with self._within(_READ_SECONDS):
                while len(first) < _SNIFFED and (more := self._read_sent(_CHUNK)):
                    first += more
        except UpstreamError:
            self.close()
            raise
        if not first:  # HEAD: its fields are what they are
            return
        if is_encoded(first):
            self._gunzip = Gunzip()
            self._gunzip.feed(first)
        else:
            self._peeked = first
        gone = {"content-encoding"} | ({"content-length"} if self._gunzip else set())
        self.headers = tuple(pair for pair in self.headers if pair[0].lower() not in gone)

    def value(self, name: str) -> str | None:
        """The header field ``name`` as one value."""
        found = field_values(self.headers, name)
        return ", ".join(found) if found else None

    @property
    def length(self) -> int | None:
        """``Content-Length``, or None where it is absent, no number or of no account."""
        text = None if self._is_chunked else self.value("Content-Length")
        known = text is not None and len(text) < 20 and text.isascii() and text.isdigit()
        return int(text) if text is not None and known else None

    @property
    def content_range(self) -> ContentRange | None:
        """Which part of the whole a 206 carries; None where it is none, or does not say."""
        if self.status != 206:
            return None
        try:
            return ContentRange.parse(self.value("Content-Range") or "")
        except ValueError:
            return None

    @property
    def is_delimited(self) -> bool:
        """Whether a body that was cut can be told from a whole one."""
        return self.length is not None or self._is_chunked or self._gunzip is not None

    @property
    def _is_chunked(self) -> bool:
        return "chunked" in (self.value("Transfer-Encoding") or "").lower()

    def read(self, most: int) -> bytes:
        """What has come of the body: from 1 to ``most`` bytes, none at its end.

        It waits for the first byte only: a reader down the line must not wait for a chunk to be
        full. Raises :class:`UpstreamError` where the connection breaks or stalls, or the body is
        shorter than was announced.
        """
        with self._within(None if self._source is None else self._source.patience):
            if self._gunzip is None:
                return self._read_sent(most)
            return self._read_decoded(self._gunzip, most)

    def _read_decoded(self, gunzip: Gunzip, most: int) -> bytes:
        try:
            while not (data := gunzip.take(most)):
                sent = self._read_sent(_CHUNK)
                if not sent and not gunzip.is_complete:
                    raise UpstreamError(f"{self.target.origin}: its gzip body is cut")
                if not sent:
                    return b""
                gunzip.feed(sent)
        except zlib.error:
            raise UpstreamError(f"{self.target.origin}: its gzip body is damaged") from None
        return data

    def _read_sent(self, most: int) -> bytes:
        """As :meth:`read`, in the coding in which it was sent."""
        if self._peeked:
            data, self._peeked = self._peeked[:most], self._peeked[most:]
            return data
        if self._broken is not None:
            raise self._broken
        try:
            cancellable_call.uses(self._carrier)
            return self._response.read1(most, decode_content=False)
        except (HTTPError, HTTPException, OSError) as error:
            self._broken = failure(self.target.origin, error)
            if self.on_break is not None and not cancellable_call.is_aborted():
                self.on_break(reason_of(error))
            raise self._broken from None

    def is_ready(self) -> bool:
        """Whether bytes have come that nobody has read; True where nobody can know."""
        sock = self._carrier
        if not isinstance(sock, socket.socket | TLSSocket):  # TLS inside of TLS
            return True
        if isinstance(sock, TLSSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    def read_ready(self, most: int) -> bytes:
        """As :meth:`read`, with whatever else has come by then: fewer turns for the same bytes."""
        parts = [self.read(most)]
        size = len(parts[0])
        with contextlib.suppress(UpstreamError):  # for who reads on
            while parts[-1] and size < most and self._has_more():
                parts.append(self.read(most - size))
                size += len(parts[-1])
        return b"".join(parts)

    def _has_more(self) -> bool:
        """Whether it is known that a read would not wait."""
        known = isinstance(self._carrier, socket.socket | TLSSocket) and self._gunzip is None
        return known and self.is_ready()

    def read_all(self, most: int, seconds: float | None = None) -> bytes:
        """The whole body, or its first ``most`` bytes.

        Within ``seconds``, or else in a time that is enough for so many bytes over a slow line.
        Raises :class:`UpstreamError`.
        """
        parts: list[bytes] = []
        with self._within(_READ_SECONDS + most / _LEAST_PACE if seconds is None else seconds):
            while most > 0 and (part := self.read(min(most, _CHUNK))):
                parts.append(part)
                most -= len(part)
        return b"".join(parts)

    @property
    def _carrier(self) -> "socket.socket | SSLTransport | None":
        return None if self._source is None else self._source.carrier

    def _within(self, seconds: float | None) -> "contextlib.AbstractContextManager[None]":
        return contextlib.nullcontext() if self._source is None else self._source.within(seconds)

    def close(self) -> None:
        """Give the connection back where nothing is left to read, else end it; never waits."""
        if self._left == 0:
            self._response.drain_conn()
        elif not self._response.closed:
            self._response.close()
        self._response.release_conn()

    def drain(self) -> None:
        """Read a small rest, so that the connection serves the next request; then close."""
        self.on_break = None
        if self.is_delimited and (self._left or 0) <= _SMALL:
            with contextlib.suppress(UpstreamError):
                self.read_all(_SMALL, _DRAIN_SECONDS)
        self.close()

    @property
    def _left(self) -> int | None:
        left: int | None = getattr(self._response, "length_remaining", None)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
