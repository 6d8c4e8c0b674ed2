"""Bodies of several parts: read from files, as they come, with little in memory."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.messages import CHUNK, Body, BodyError
from entrepot.protocol.ranges.byte_ranges import Span
from entrepot.protocol.ranges.multipart import Multipart
from entrepot.transfer.bodies import FileBody
from entrepot.transfer.growing_file import GrowingFile
from entrepot.transfer.multipart_body import MultipartBody
from rig.bodies import drain, read
from rig.multipart import parts_of

SIZE = 3_000_000
DATA = os.urandom(SIZE)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def file(path: Path) -> Iterator[FileBody]:
    body = FileBody(os.open(path, os.O_RDONLY), 0, SIZE)
    yield body
    body.close()


def framed(*spans: Span) -> Multipart:
    return Multipart.make("xyz", "a/b", SIZE, spans)


def of(file: FileBody, framing: Multipart) -> MultipartBody:
    return MultipartBody(framing, lambda span: file.part(*span), file.close)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


Way = Callable[[Body], Coroutine[None, None, tuple[bytes, int]]]


def in_band(most: int) -> Way:
    """What a client gets through TLS, in pieces of ``most`` bytes."""

    async def sent(body: Body) -> tuple[bytes, int]:
        given = b""
        while data := await body.read(most):
            given += data
        return given, 0

    return sent


def with_kernel(most: int) -> Way:
    """What a client without TLS gets, and how much of it the kernel sends."""

    async def sent(body: Body) -> tuple[bytes, int]:
        given, by_kernel = b"", 0
        while True:
            if (stretch := body.stretch(most)) is not None:
                data = os.pread(stretch.file, stretch.count, stretch.offset)
                by_kernel += len(data)
                body.skip(len(data))
            elif not (data := await body.read(most)):
                return given, by_kernel
            given += data

    return sent


SPANS = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.integers(1, 400_000)).map(
        lambda pair: (pair[0], min(SIZE, sum(pair)))
    ),
    min_size=2,
    max_size=8,
)


@given(SPANS, st.sampled_from([1_000, 8 * 1024, 300_000, CHUNK]))
def test_any_parts_come_out_as_they_are_in_the_content(
    path: Path, spans: list[Span], most: int
) -> None:
    """By read() alone and with the kernel's help, in any pieces, to the length that was said."""
    framing = framed(*spans)
    for way in (in_band(most), with_kernel(most)):
        file = FileBody(os.open(path, os.O_RDONLY), 0, SIZE)
        body = of(file, framing)
        given, _ = asyncio.run(way(body))
        body.close()
        assert len(given) == body.size == framing.length
        found = parts_of(framing.content_type, given)
        assert found == [(start, DATA[start:stop]) for start, stop in spans]


def test_small_parts_go_together(file: FileBody) -> None:
    """A thousand of them cost a client's loop a few turns, and not a descriptor each."""
    spans = [(at * 2000, at * 2000 + 100) for at in range(1000)]
    before, framing = descriptors(), framed(*spans)
    pieces = asyncio.run(drain(of(file, framing)))
    assert len(pieces) == 1
    assert parts_of(framing.content_type, pieces[0]) == [(a, DATA[a:b]) for a, b in spans]
    assert descriptors() < before


def test_the_kernel_sends_what_is_large(file: FileBody) -> None:
    """All of it: what frames it is read by itself."""
    framing = framed((0, 1_000_000), (1_500_000, 1_500_100), (2_000_000, 3_000_000))
    given, by_kernel = asyncio.run(with_kernel(CHUNK)(of(file, framing)))
    assert by_kernel == 2_000_000
    assert len(parts_of(framing.content_type, given)) == 3


def test_no_piece_is_larger_than_asked(file: FileBody) -> None:
    """So a client that stalls holds no more than it is granted."""
    body = of(file, framed((0, 500_000), (600_000, 600_010), (700_000, 1_400_000)))

    async def largest() -> int:
        sizes = [0]
        while data := await body.read(8192):
            sizes.append(len(data))
        return max(sizes)

    assert asyncio.run(largest()) == 8192


def test_a_part_that_is_here_is_not_held_up_by_one_that_is_not(tmp_path: Path) -> None:
    """Of a growing file each part is given as soon as it is there."""

    async def check() -> None:
        growing = GrowingFile(tmp_path / "part", asyncio.get_running_loop())
        growing.size = SIZE
        growing.write_at(0, DATA[:1_000_000])
        file = growing.body(0, None)
        framing = framed((0, 100_000), (2_000_000, 2_100_000))
        body = MultipartBody(framing, lambda span: file.part(*span), file.close)
        given = b""
        while not given.endswith(DATA[99_900:99_999]):
            given += await asyncio.wait_for(body.read(), 10)
        growing.write_at(1_000_000, DATA[1_000_000:])
        growing.end()
        given += await read(body)
        growing.close()
        assert parts_of(framing.content_type, given) == [
            (start, DATA[start:stop]) for start, stop in framing.spans
        ]
        assert growing.followers == 0

    asyncio.run(check())


def test_a_part_that_is_short_breaks_the_body_off(tmp_path: Path) -> None:
    """It is never made up for by what comes after it."""
    (tmp_path / "file").write_bytes(b"short")
    file = FileBody(os.open(tmp_path / "file", os.O_RDONLY), 0, 5)
    body = MultipartBody(framed((0, 3), (4, 9)), lambda span: file.part(span[0], 5), file.close)
    with pytest.raises(BodyError, match="shorter"):
        asyncio.run(read(body))
    body.close()


def test_no_descriptor_for_a_part_breaks_the_body_off(file: FileBody) -> None:
    """As where its file was closed, or too many are open."""
    body = of(file, framed((0, 3), (4, 9)))
    file.close()
    with pytest.raises(BodyError, match="cannot be opened"):
        asyncio.run(read(body))


def test_a_closed_body_gives_nothing_and_holds_nothing(file: FileBody) -> None:
    """In the middle of a part too; twice is harmless."""
    before = descriptors()
    body = of(file, framed((0, 2_000_000), (2_500_000, 2_500_001)))
    assert asyncio.run(body.read())
    body.close()
    body.close()
    assert descriptors() == before - 1
    with pytest.raises(BodyError, match="closed"):
        asyncio.run(body.read())
