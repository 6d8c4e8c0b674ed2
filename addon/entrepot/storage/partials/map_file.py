"""The file that says which bytes a sparse unfinished download has: ``<file>.ranges``.

Little-endian, in slots of 32 bytes, so that none lies in two sectors: first magic, the kernel's
boot id and a CRC; then ``(start, stop, CRC)`` each. The slot of an interval is written again as it
grows. A *mark*, whose start is ``2**64 - 1``, says how many slots are of bytes that were put on the
disk before it: these are not written again.

- After a kill, in the same boot, all slots count: the kernel has the bytes.
- After another boot those count that the last mark names.
- A torn slot does not count, nor what is beyond :data:`MOST_SLOTS`.
- A map that cannot be read covers nothing: without it nobody knows what is a gap.

So the file goes, or is cut, before its map goes. A map alone harms nothing; a sparse file alone
would pass for one that came in order, as far as to its first hole.
"""

import contextlib
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrepot.intervals import Intervals, Span

MOST_SLOTS = 16 * 1024
"""That makes a file of 512 KiB."""

_SUFFIX = ".ranges"
_NEW = ".ranges.new"
_MAGIC = b"entrepo1"
_HEAD = struct.Struct("<8s16s")
_SPAN = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")
_SLOT_SIZE = 32
_MARK = 2**64 - 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_WAITING = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def boot_id(path: Path = _BOOT_ID) -> bytes:
    """What the kernel calls this boot, 16 bytes; a new one each time where it does not say."""
    try:
        said = bytes.fromhex(path.read_text(encoding="ascii").strip().replace("-", ""))
    except (OSError, ValueError):
        said = b""
    return said if len(said) == 16 else secrets.token_bytes(16)


def map_of(path: Path) -> Path:
    """Where the map of an unfinished download lies."""
    return path.with_name(path.name + _SUFFIX)


def mapped_by(path: Path) -> Path | None:
    """The file whose map this is, or was to become; None where it is no map."""
    for suffix in (_SUFFIX, _NEW):
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix))
    return None


def forget_map(path: Path) -> None:
    """Remove the map of a file that is gone, whole, or empty. Raises OSError."""
    map_of(path).unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove an unfinished download with its map. Raises OSError."""
    path.unlink(missing_ok=True)
    forget_map(path)


@dataclass(frozen=True, slots=True)
class Said:
    """What a map says of its file, which itself may have less."""

    spans: list[Span]
    """Those that count."""
    durable: list[Span]
    """Those of them that were put on the disk."""


_NOTHING = Said([], [])


def read_map(path: Path, boot: bytes) -> Said | None:
    """Read the map of a download; None where there is none. ``boot`` is this boot's id."""
    try:
        file = os.open(map_of(path), os.O_RDONLY | _NO_WAITING)
    except FileNotFoundError:
        return None
    except OSError:
        return _NOTHING
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return _NOTHING
        content = os.pread(file, (MOST_SLOTS + 1) * _SLOT_SIZE, 0)
    except OSError:
        return _NOTHING
    finally:
        os.close(file)
    if len(content) < _SLOT_SIZE:
        return _NOTHING
    magic, written_in = _HEAD.unpack_from(content)
    if magic != _MAGIC or content[:_SLOT_SIZE] != head_slot(written_in):
        return _NOTHING
    slots = list(_slots(content, seed_of(written_in)))
    marked = max((stop for at, (start, stop) in slots if start == _MARK and stop <= at), default=0)
    durable = [span for at, span in slots if at < marked and span[0] != _MARK]
    if written_in != boot:
        return Said(durable, durable)
    return Said([span for _, span in slots if span[0] != _MARK], durable)


def _slots(content: bytes, seed: int) -> Iterator[tuple[int, Span]]:
    """The slots of a map that are whole, and the number of each."""
    for number, at in enumerate(range(_SLOT_SIZE, len(content) - _SLOT_SIZE + 1, _SLOT_SIZE)):
        span = _SPAN.unpack_from(content, at)
        if content[at : at + _SLOT_SIZE] == _slot(span, seed):
            yield number, span


def seed_of(boot: bytes) -> int:
    """What the CRC of each slot begins with: slots of another boot's map are none of this one."""
    return zlib.crc32(_HEAD.pack(_MAGIC, boot))


def head_slot(boot: bytes) -> bytes:
    """What a map begins with."""
    return _padded(_HEAD.pack(_MAGIC, boot) + _CHECK.pack(seed_of(boot)))


def mark_of(slots: int) -> Span:
    """The mark that says so many slots are of bytes on the disk."""
    return _MARK, slots


def write_slot(file: int, number: int, span: Span, seed: int) -> None:
    """Write one slot of an open map. Raises OSError."""
    os.pwrite(file, _slot(span, seed), (number + 1) * _SLOT_SIZE)


def _slot(span: Span, seed: int) -> bytes:
    packed = _SPAN.pack(*span)
    return _padded(packed + _CHECK.pack(zlib.crc32(packed, seed)))


def _padded(content: bytes) -> bytes:
    return content.ljust(_SLOT_SIZE, b"\0")


def write_anew(path: Path, boot: bytes, durable: Intervals, others: Intervals) -> tuple[int, int]:
    """Put a new map in the place of the one that is there: the open file, and its slots.

    It is on the disk then. Raises OSError, and what was there stays.
    """
    seed, new = seed_of(boot), path.with_name(path.name + _NEW)
    spans = (*durable, mark_of(len(durable)), *others)
    view = memoryview(head_slot(boot) + b"".join(_slot(span, seed) for span in spans))
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
        new.rename(map_of(path))
    except OSError:
        os.close(file)
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    return file, len(spans)
