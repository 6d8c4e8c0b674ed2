"""A data folder seen from outside: whether all in it belongs together.

Read with plain SQL and plain files, so that it cannot err the same way as the store.
"""

import hashlib
import re
import sqlite3
import struct
import zlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

_DATABASE = ("cache.db", "cache.db-wal", "cache.db-shm")
_EXPECTED = {
    "lock",
    "format",
    "upstream-ca.pem",
    "ca/mitmproxy-ca.pem",
    "ca/mitmproxy-dhparam.pem",
    *(f"records.db{suffix}" for suffix in ("", "-wal", "-shm")),
    *(f"{cache}/{name}" for cache in ("blobs", "index") for name in _DATABASE),
}
_PUSHED = re.compile(r"push-[0-9a-z_]{8}\.part")
_PARTIAL = re.compile(r"(sha256|sha512)-([0-9a-f]+)-[0-9a-f]{16}\.part")
_MAP = ".ranges"
_SLOT = 32
_MARK = 2**64 - 1


@dataclass
class Contents:
    """What a folder holds; ``problems`` says what does not belong together."""

    blobs: dict[str, Path] = field(default_factory=dict)
    """By digest."""
    partials: dict[str, Path] = field(default_factory=dict)
    """By digest, however many registries they are from."""
    used: int = 0
    """Bytes that count against the limit: objects, unfinished downloads, the databases' pages."""
    pushed: int = 0
    """Bytes of unfinished pushes, which may take an eighth of the limit above it."""
    index: set[str] = field(default_factory=set)
    """The keys of the index."""
    problems: list[str] = field(default_factory=list)


def examine(data: Path) -> Contents:
    """Look at a folder that nothing is being written to."""
    contents = Contents()
    expected = _EXPECTED | _blobs(data, contents)
    with _open(data / "index", contents) as database:
        contents.index = {key for (key,) in database.execute("SELECT key FROM Cache")}
        contents.used += _pages(database)
    for path in (data / "partial").iterdir():
        if path.suffix == _MAP:
            _map(path, contents)
        else:
            _partial(path, contents)
        expected.add(str(path.relative_to(data)))
    files = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    contents.problems += [f"{name}: nothing knows it" for name in sorted(files - expected)]
    return contents


def _blobs(data: Path, contents: Contents) -> set[str]:
    """Check every row of ``blobs`` against its file; the files' names."""
    names = set()
    with _open(data / "blobs", contents) as database:
        rows = database.execute("SELECT key, size, filename, value FROM Cache").fetchall()
        contents.used += _pages(database)
        ((claimed,),) = database.execute("SELECT value FROM Settings WHERE key = 'size'")
        ((in_rows,),) = database.execute("SELECT bytes FROM Sums WHERE name = 'rows'")
    for key, size, filename, value in rows:
        content = value
        if filename is not None:
            names.add(f"blobs/{filename}")
            content = _content(data / "blobs" / filename, size, contents)
        digest = key.rpartition(" ")[2]
        if _hash(digest, content) != digest:
            contents.problems.append(f"{key}: its bytes are {_hash(digest, content)}")
        if key.startswith("blob "):
            contents.blobs[digest] = data / "blobs" / str(filename)
    if claimed != sum(size for _, size, _, _ in rows):
        contents.problems.append(f"the database counts {claimed} bytes of files")
    if in_rows != sum(len(value) for _, _, _, value in rows if value is not None):
        contents.problems.append(f"the database counts {in_rows} bytes in rows")
    contents.used += claimed
    return names


def _pages(database: sqlite3.Connection) -> int:
    """The bytes of a database without its log."""
    ((pages,),) = database.execute("PRAGMA page_count")
    ((page,),) = database.execute("PRAGMA page_size")
    return int(pages * page)


def _partial(path: Path, contents: Contents) -> None:
    if _PUSHED.fullmatch(path.name):
        contents.pushed += path.stat().st_size
        return
    name = _PARTIAL.fullmatch(path.name)
    if name is None:
        contents.problems.append(f"partial/{path.name}: no name of a download")
        return
    contents.partials[f"{name[1]}:{name[2]}"] = path
    contents.used += sum(stop - start for start, stop in covered(path))
    if path.stat().st_size == 0:
        contents.problems.append(f"partial/{path.name}: there is nothing to continue")


def _map(path: Path, contents: Contents) -> None:
    """A map counts too, and is of a download that is there; its file is its owner's alone."""
    contents.used += path.stat().st_size
    if not path.with_suffix("").exists():
        contents.problems.append(f"partial/{path.name}: a map without its file")
    if path.stat().st_mode & 0o77:
        contents.problems.append(f"partial/{path.name}: others may read it")


def covered(path: Path) -> list[tuple[int, int]]:
    """Which bytes an unfinished download has, after a kill in this boot; the lowest first."""
    try:
        said = path.with_name(path.name + _MAP).read_bytes()
    except FileNotFoundError:
        return [(0, path.stat().st_size)]
    seed, spans, found = zlib.crc32(said[:24]), [], list[tuple[int, int]]()
    for at in range(_SLOT, len(said), _SLOT):
        start, stop, check = struct.unpack_from("<QQI", said, at)
        assert check == zlib.crc32(said[at : at + 16], seed), f"{path.name}: a wrong slot"
        if start != _MARK:
            spans.append((start, stop))
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def _content(path: Path, size: int, contents: Contents) -> bytes:
    if not path.exists():
        contents.problems.append(f"{path.name}: a row without its file")
        return b""
    if path.stat().st_size != size:
        contents.problems.append(f"{path.name}: {path.stat().st_size} bytes, the row says {size}")
    return path.read_bytes()


def _hash(digest: str, content: bytes) -> str:
    algorithm = digest.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _open(folder: Path, contents: Contents) -> "closing[sqlite3.Connection]":
    connection = sqlite3.connect(folder / "cache.db")
    ((verdict,),) = connection.execute("PRAGMA integrity_check(1)")
    if verdict != "ok":
        contents.problems.append(f"{folder.name}: {verdict}")
    return closing(connection)
