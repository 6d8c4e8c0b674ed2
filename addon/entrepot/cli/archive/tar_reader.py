"""An OCI image layout read from a tar, in one pass, whoever wrote it and in whatever order.

Nothing is unpacked by its name: of the members only `index.json` and what is called
`blobs/ALGORITHM/HEX` are read, the latter into files of our own. A tar is refused where such a one
is no plain file (a link, a device, a sparse file), is there twice, where it is larger than the disk
has room for, or where the tar is cut. What bytes a digest names is checked later, before they are
kept.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from entrepot.app.start_error import StartError
from entrepot.cli.archive import layout
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.manifests import MAX_SIZE
from entrepot.storage.partials.partial_files import import_file

_BLOB = re.compile(r"(?:\./)?blobs/(sha256|sha512)/([0-9a-f]{64}|[0-9a-f]{128})", re.ASCII)
_INDEX = re.compile(rf"(?:\./)?{re.escape(layout.INDEX_FILE)}")
_MOST_MEMBERS = 1_000_000
_MOST_HEADER = 1024 * 1024
_RESERVE = 256 * 1024 * 1024
_CHUNK = 1024 * 1024

_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedMember(tarfile.TarInfo):
    """A member whose extended header is bounded: it is read into memory as a whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        if self.type in _HEADERS and self.size > _MOST_HEADER:
            raise tarfile.ReadError("a header in it is too long")
        # Every header comes by here; typeshed does not know it.
        found: Self = super()._proc_member(archive)  # type: ignore[misc]
        return found


@dataclass(slots=True)
class Archive:
    """What was read: `index.json`, and the files that objects were written into."""

    index: bytes = b""
    files: dict[Digest, Path] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)

    def manifest(self, digest: Digest) -> bytes | None:
        """The bytes of a manifest, hashed; None where it is not there. Raises ``StartError``."""
        file = self.files.get(digest)
        if file is None:
            return None
        if self.sizes[digest] > MAX_SIZE:
            raise StartError(f"{digest}: a manifest has at most {MAX_SIZE} bytes")
        content = file.read_bytes()
        if Digest.of(content, digest.algorithm) != digest:
            raise StartError(f"{digest}: its bytes do not hash to the digest")
        return content


@contextmanager
def read_archive(
    source: IO[bytes], folder: Path, advance: Callable[[int], None]
) -> Iterator[Archive]:
    """Read a tar, perhaps compressed, into files of the data folder, which go at the end.

    Raises ``StartError``.
    """
    archive = Archive()
    with ExitStack() as undo:
        undo.callback(_remove, archive)
        try:
            _read(source, folder, archive, advance)
        except (tarfile.TarError, EOFError, ValueError) as error:
            reason = str(error) or "it is cut"
            raise StartError(f"it is no whole tar: {reason}") from None
        if not archive.index:
            raise StartError(
                "it is no OCI image layout: it has no index.json; of an older docker save:"
                " skopeo copy docker-archive:FILE oci-archive:OTHER:NAME makes one"
            )
        yield archive


def _remove(archive: Archive) -> None:
    for path in archive.files.values():
        path.unlink(missing_ok=True)


def _read(
    source: IO[bytes], folder: Path, archive: Archive, advance: Callable[[int], None]
) -> None:
    with tarfile.open(fileobj=source, mode="r|*", tarinfo=BoundedMember) as tar:
        for number, member in enumerate(tar):
            tar.members = []  # type: ignore[attr-defined] # else each stays in memory
            if number >= _MOST_MEMBERS:
                raise ValueError(f"it has more than {_MOST_MEMBERS} members")
            blob = _BLOB.fullmatch(member.name)
            if blob is None and not _INDEX.fullmatch(member.name):
                continue
            if not member.isreg() or member.issparse():
                raise ValueError(f"{member.name[:200]!r} in it is no plain file")
            content = tar.extractfile(member)
            if content is None:
                raise ValueError(f"{member.name[:200]!r} in it is no plain file")
            if blob is not None:
                _keep(content, member.size, Digest(*blob.groups()), folder, archive, advance)
            elif member.size > MAX_SIZE or archive.index:
                raise ValueError("its index.json is too large, or there twice")
            else:
                archive.index = content.read()


def _keep(
    content: IO[bytes],
    size: int,
    digest: Digest,
    folder: Path,
    archive: Archive,
    advance: Callable[[int], None],
) -> None:
    if digest in archive.files:
        raise ValueError(f"{digest} is in it twice")
    if size + _RESERVE > shutil.disk_usage(folder).free:
        raise StartError(f"{digest}: the disk has no room for its {size} bytes")
    file, path = import_file(folder)
    archive.files[digest], archive.sizes[digest] = path, size
    with os.fdopen(file, "wb") as out:
        while chunk := content.read(_CHUNK):
            out.write(chunk)
            advance(len(chunk))
    if path.stat().st_size != size:
        raise EOFError("it is cut")
