"""A list that streams to its client, and is kept when it is whole."""

import asyncio
from collections.abc import Callable

import pytest

from entrepot.protocol.messages import Body, BodyError, Stretch
from entrepot.pull.lists.kept_body import KeptBody


class Pieces:
    """A body of given pieces; an exception stands for a break."""

    size = None

    def __init__(self, *pieces: bytes | BodyError) -> None:
        self._pieces = list(pieces)
        self.closed = False

    async def read(self, most: int = 1) -> bytes:
        del most
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, BodyError):
            raise piece
        return piece

    def stretch(self, most: int) -> Stretch | None:
        del most
        return None

    def skip(self, count: int) -> None:
        raise AssertionError(count)

    def close(self) -> None:
        self.closed = True


def run(body: Body, *, reads: int = 10) -> tuple[list[bytes], list[bytes]]:
    """What a client gets by so many reads, and what is kept."""
    kept: list[bytes] = []

    async def keep(content: bytes) -> None:
        kept.append(content)

    async def read() -> list[bytes]:
        wrapped = KeptBody(body, 6, keep)
        got = []
        for _ in range(reads):
            try:
                got.append(await wrapped.read())
            except BodyError:
                break
        wrapped.close()
        return got

    return asyncio.run(read()), kept


@pytest.mark.parametrize(
    ("body", "reads", "kept"),
    [
        (lambda: Pieces(b"abc", b"def"), 10, [b"abcdef"]),
        (lambda: Pieces(b"abc", b"defg"), 10, []),
        (lambda: Pieces(b"abc", BodyError("cut")), 10, []),
        (lambda: Pieces(b"abc", b"def"), 2, []),
        (Pieces, 10, [b""]),
    ],
    ids=["whole", "too large", "cut", "the client left", "empty"],
)
def test_only_what_is_whole_is_kept(
    body: Callable[[], Pieces], reads: int, kept: list[bytes]
) -> None:
    """The client gets each piece as it comes, whatever becomes of the copy."""
    pieces = body()
    wanted = [piece for piece in pieces._pieces if isinstance(piece, bytes)]  # noqa: SLF001
    got, found = run(pieces, reads=reads)
    assert ([piece for piece in got if piece], found) == (wanted, kept)
    assert pieces.closed
