"""Bodies that came gzip-encoded though nobody asked for it (RFC 9110 section 8.4).

We ask for ``identity``, since a digest names the bytes themselves. Some servers compress all the
same; others only mark a layer, which is a gzip file by itself, as encoded. The digest says in the
end which of the two it was; what to try is told by the first bytes.
"""

import zlib

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WINDOW = 16 + zlib.MAX_WBITS
"""What zlib takes for: a gzip header and trailer."""


class Gunzip:
    """Decodes a gzip body piece by piece, never more at once than is asked for."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_WINDOW)
        self._waiting = b""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing where the encoded bytes end now."""
        return self._decoder.eof and not self._waiting

    def feed(self, data: bytes) -> None:
        """Take encoded bytes."""
        self._waiting += data

    def take(self, most: int) -> bytes:
        """At most ``most`` decoded bytes; none where more must be fed. Raises ``zlib.error``."""
        if self._decoder.eof and self._waiting:  # one member behind another (RFC 1952 section 2.2)
            self._decoder = zlib.decompressobj(_WINDOW)
        data = self._decoder.decompress(self._waiting, most)
        self._waiting = self._decoder.unconsumed_tail or self._decoder.unused_data
        return data


def is_encoded(first: bytes) -> bool:
    """Whether a body that begins so was encoded on its way, and is no gzip file by itself.

    A compressed layer within another compression, or JSON (a manifest, a configuration), was; a
    tar archive within one is taken for a layer. A wrong guess costs a mismatch, nothing else.
    """
    if not first.startswith(_GZIP):
        return False
    try:
        inner = zlib.decompressobj(_WINDOW).decompress(first, 64).lstrip()
    except zlib.error:
        return False
    return inner.startswith((_GZIP, _ZSTD, b"{", b"["))
