"""Bytes of a stored file to a client without TLS: from the page cache to the socket.

They never come to Python, which is twice as fast as handing them on (measured), and holds no
memory for a client that stalls. mitmproxy does not see them: its own HTTP/1 layer counts no bytes
of an answer with a Content-Length, and goes on with the next request as ever.

The transport's own way (``loop.sendfile``) takes the socket off the loop meanwhile: a client that
leaves would not be seen, and one that is dropped would leave its descriptor in the selector. So
this writes beside the transport, once that has nothing left to write, and waits on a duplicate.
"""

import asyncio
import errno
import os
from typing import Any

from entrepot.protocol.messages import Stretch

AT_ONCE = 8 * 1024 * 1024
"""Bytes after which mitmproxy gets to know that something moves."""
_LOOKED_AT = 256 * 1024
"""How far apart it is asked for in the page cache; the kernel reads ahead so far."""
_DISK = frozenset({errno.EIO, errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW})
"""What sendfile says where it is the file that cannot be read so."""


class Sendfile:
    """Sends stretches of files to one client; ``transport`` is asyncio's, without TLS."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(0)  # its drain() is to wait until all is written
        self._duplicate: int | None = None
        self._over: asyncio.Future[None] | None = None
        self._gone = False

    async def send(self, stretch: Stretch) -> int:
        """Send a stretch, where the page cache has it; how many bytes of it went.

        0 where that would wait for the disk, or the transport still has bytes of its own, or the
        disk fails.
        Raises OSError where the client has left.
        """
        if self._transport.get_write_buffer_size() or not _is_cached(stretch):
            return 0
        sent = 0
        loop = asyncio.get_running_loop()
        over = self._over = loop.create_future()

        def go_on() -> None:
            """Send what the socket takes now."""
            nonlocal sent
            if over.done():
                return
            try:
                part = self._send_some(stretch, sent)
            except OSError as error:
                over.set_exception(error)
                return
            sent += part or 0
            if part == 0 or sent == stretch.count:
                over.set_result(None)

        go_on()
        try:
            if not over.done():  # the loop goes on with it, and wakes this task at the end
                if self._duplicate is None:
                    self._duplicate = os.dup(self._fileno())
                loop.add_writer(self._duplicate, go_on)
            await over
        finally:
            self._over = None
            if self._duplicate is not None:
                loop.remove_writer(self._duplicate)
        return sent

    def _send_some(self, stretch: Stretch, sent: int) -> int | None:
        """How many bytes went; 0 where the file has no more to give, None where the socket waits.

        The file can be shorter than it was, or unreadable: reading it says so.
        """
        at, count = stretch.offset + sent, stretch.count - sent
        try:
            return os.sendfile(self._fileno(), stretch.file, at, count)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _DISK:
                return 0
            raise

    def close(self) -> None:
        """End, and let whatever waits for the client find that out."""
        self._gone = True
        if self._duplicate is not None:
            asyncio.get_running_loop().remove_writer(self._duplicate)
            os.close(self._duplicate)
            self._duplicate = None
        if self._over is not None and not self._over.done():
            self._over.set_exception(_closed())

    def _fileno(self) -> int:
        if self._gone or self._transport.is_closing():
            raise _closed()
        number: int = self._transport.get_extra_info("socket").fileno()
        return number


def _closed() -> OSError:
    return ConnectionResetError("it has closed the connection")


def _is_cached(stretch: Stretch) -> bool:
    """Whether a stretch can be sent without waiting for the disk, as far as a few looks tell."""
    last = stretch.offset + stretch.count - 1
    try:
        for offset in (*range(stretch.offset, last, _LOOKED_AT), last):
            os.preadv(stretch.file, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: not in the page cache; EOPNOTSUPP: a filesystem without it
        return False
    return True
