"""An OCI image layout written as a tar, object by object, each verified while it is written."""

import io
import json
import tarfile
from collections.abc import Callable
from typing import IO

from entrepot.app.start_error import StartError
from entrepot.cli.archive import layout
from entrepot.cli.archive.export_plan import ExportPlan, Part
from entrepot.protocol.identifiers import Hasher


def write_archive(out: IO[bytes], plan: ExportPlan, advance: Callable[[int], None]) -> None:
    """Write it. Raises ``StartError`` where an object is gone or damaged, and the tar ends there.

    What says what is in it comes first, so that a reader need not go back.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, layout.LAYOUT_FILE, json.dumps(layout.LAYOUT).encode())
        _add(archive, layout.INDEX_FILE, layout.index_document(plan.index))
        _add(archive, layout.DOCKER_FILE, json.dumps(plan.docker).encode())
        for part in plan.parts.values():
            _add_part(archive, part, advance)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _add_part(archive: tarfile.TarFile, part: Part, advance: Callable[[int], None]) -> None:
    hasher = part.digest.hasher()
    member = _member(layout.path_of(part.digest), part.size)
    try:
        source = io.BytesIO(part.content or b"") if part.file is None else part.file.open("rb")
    except FileNotFoundError:
        raise StartError(f"{part.digest}: it gave way for others meanwhile; try again") from None
    with source:
        try:
            archive.addfile(member, _Hashed(source, hasher, advance))
        except (OSError, tarfile.TarError) as error:
            if source.closed or isinstance(error, BrokenPipeError) or not _is_short(source, part):
                raise
            raise StartError(f"{part.digest}: it is shorter than it was") from None
    if hasher.hexdigest() != part.digest.hex:
        raise StartError(f"{part.digest}: it is damaged; see entrepot verify")


def _is_short(source: IO[bytes], part: Part) -> bool:
    return source.tell() < part.size


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, source: IO[bytes], hasher: Hasher, advance: Callable[[int], None]) -> None:
        self._source = source
        self._hasher = hasher
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hasher.update(data)
        self._advance(len(data))
        return data
