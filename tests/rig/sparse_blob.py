"""A blob of any size that takes neither disk nor memory: its bytes follow from their offsets.

Its digest is none of these bytes: nobody is to read it to its end.
"""

import hashlib
import re
import threading
from dataclasses import dataclass, field

from rig.faults import Exchange, Gate

_PAGE = 4096
_PIECE = 1 << 16


def content_of(start: int, stop: int) -> bytes:
    """The bytes from one offset up to another."""
    first = start // _PAGE
    pages = range(first, (stop - 1) // _PAGE + 1)
    content = b"".join(number.to_bytes(8, "big") * (_PAGE // 8) for number in pages)
    return content[start - first * _PAGE : stop - first * _PAGE]


@dataclass
class SparseBlob:
    """Serves such a blob, whole or one range at a time; `gate` is asked before each piece."""

    size: int
    gate: Gate | None = None
    most_at_once: int = 0
    """How many requests for it were being answered at once, at most."""
    sent: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def path(self) -> str:
        """Where it is, in a repository of its own."""
        digest = hashlib.sha256(str(self.size).encode()).hexdigest()
        return f"/v2/sparse-{self.size}/blobs/sha256:{digest}"

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            self._answer(exchange)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, exchange: Exchange) -> None:
        start, stop, status = 0, self.size, 200
        head = {"Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", exchange.request.range or "")
        if wanted:
            status = 206
            start = int(wanted[1]) if wanted[1] else self.size - int(wanted[2])
            stop = min(self.size, int(wanted[2]) + 1) if wanted[1] and wanted[2] else self.size
            head["Content-Range"] = f"bytes {start}-{stop - 1}/{self.size}"
        if start >= self.size:
            exchange.send(416, headers={"Content-Range": f"bytes */{self.size}"})
            return
        exchange.start(status, {**head, "Content-Length": str(stop - start)})
        while start < stop and exchange.request.method == "GET":
            count = min(_PIECE, stop - start)
            count = self.gate.take(count) if self.gate else count
            exchange.write(content_of(start, start + count))
            with self._lock:
                self.sent += count
            start += count
