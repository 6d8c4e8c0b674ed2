"""``entrepot import``: images of an archive taken into the cache, for where no registry is near."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.archive.import_plan import ImportedImage, planned
from entrepot.cli.archive.tar_reader import Archive, read_archive
from entrepot.cli.data_owner import as_owner
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.progress import Progress
from entrepot.cli.frame.text_table import size
from entrepot.cli.images.administrator import administrator
from entrepot.config.settings import Config
from entrepot.control.client import Ask, connected
from entrepot.protocol.identifiers import Digest

STDIN = "-"
_FILE = typer.Argument(
    metavar="FILE|-", help="an OCI image layout in a tar: of entrepot, skopeo, docker or podman"
)
_NAME = typer.Option("--name", metavar="IMAGE", help="what an image without a name is called")
_PRIVATE = typer.Option(
    "--private", help="show it to nobody whom its registry, or --offline-private, does not allow"
)


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="Images are kept under their names, so that pulls of them are served with the registry"
    " away: to anybody who may use the proxy, unless --private. Each digest is verified; a tar that"
    " is not whole changes nothing.",
    examples=(
        ("entrepot import redis.tar", "all images that are in it"),
        ("entrepot import app.tar --name ghcr.io/acme/app:1", "one that has no name there"),
        ("entrepot import app.tar --private", "to be shown only to who may have it"),
    ),
)
def take_in(
    config: Config,
    form: str,
    file: Annotated[str, _FILE],
    *,
    name: Annotated[str | None, _NAME] = None,
    private: Annotated[bool, _PRIVATE] = False,
) -> None:
    """Take them in and say what can be pulled now. Raises ``StartError``."""
    folder = config.data
    if not (folder / "partial").is_dir():
        raise StartError(f"data folder {str(folder)!r}: there is none; see --data")
    with (
        _opened(file) as (source, total),
        as_owner(folder),
        _named(file),
        _read_for(folder, source, total) as (archive, ask),
    ):
        images = planned(archive, name)
        _check_limit(ask, archive)
        done = _Import(ask, archive, private=private).run(images)
    if form != "table":
        print_document({**done, "private": private}, form)
        return
    for image in done["images"]:
        print(f"imported {image['name']}")
    print(f"{size(done['size'])} in {done['objects']} objects", file=sys.stderr)


@contextmanager
def _opened(file: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """The archive, and how long it is; None where nobody knows."""
    if file == STDIN:
        yield sys.stdin.buffer, None
        return
    with Path(file).open("rb") as opened:
        yield opened, Path(file).stat().st_size


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Say of what a failure is."""
    try:
        yield
    except StartError as error:
        raise StartError(f"{file}: {error}") from None


@contextmanager
def _read_for(folder: Path, source: IO[bytes], total: int | None) -> Iterator[tuple[Archive, Ask]]:
    """All that is in an archive, and who takes it in.

    A proxy that runs is asked only then: it waits for no client that long. A folder is opened
    before, since that clears it of what was left.
    """
    with connected(folder) as running:
        runs = running is not None
    with ExitStack() as stack:
        ask = None if runs else stack.enter_context(administrator(folder))
        with Progress("reading", total) as progress:
            task = progress.task("archive", total)
            archive = stack.enter_context(read_archive(source, folder, task.advance))
        yield archive, ask or stack.enter_context(administrator(folder))


def _check_limit(ask: Ask, archive: Archive) -> None:
    limit, total = ask({"do": "images", "limit": 0})["limit"], sum(archive.sizes.values())
    if limit is not None and total > limit:
        raise StartError(f"it has {size(total)}, and the cache may keep {size(limit)}; see --size")


class _Import:
    """Hands over what was read, image by image."""

    def __init__(self, ask: Ask, archive: Archive, *, private: bool) -> None:
        self._ask = ask
        self._archive = archive
        self._private = private
        self._taken: set[Digest] = set()
        """Blobs whose files are handed over: they are shared by images."""

    def run(self, images: list[ImportedImage]) -> dict[str, Any]:
        """Take all in, one after another."""
        told = []
        for image in images:
            for digest, blob in image.blobs.items():
                file = None if digest in self._taken else self._archive.files[digest].name
                self._take("take_blob", image, digest, blob.media_type, file)
                self._taken.add(digest)
            for digest, manifest in image.manifests.items():
                name = self._archive.files[digest].name
                self._take("take_manifest", image, digest, manifest.media_type, name)
            where = self._where(image, image.root)
            answer = self._ask({"do": "imported", **where, "tag": image.tag, "size": image.size})
            told.append({"name": answer["name"], "digest": str(image.root)})
        objects = {digest for one in images for digest in (*one.blobs, *one.manifests)}
        total = sum(self._archive.sizes[digest] for digest in objects)
        return {"images": told, "objects": len(objects), "size": total}

    def _take(
        self, do: str, image: ImportedImage, digest: Digest, media_type: str, file: str | None
    ) -> None:
        where = self._where(image, digest)
        request = {"do": do, **where, "media_type": media_type, "file": file}
        while self._ask(request).get("more"):
            pass  # it is large, and hashed in steps

    def _where(self, image: ImportedImage, digest: Digest) -> dict[str, Any]:
        return {
            "registry": str(image.repository.origin),
            "repository": image.repository.name,
            "digest": str(digest),
            "private": self._private,
        }
