"""``entrepot export``: images written as an archive that docker, containerd and skopeo read."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.archive.export_plan import Planning
from entrepot.cli.archive.tar_writer import write_archive
from entrepot.cli.frame.definition import FOLDER, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.progress import Progress
from entrepot.cli.frame.text_table import size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.images.image_argument import Images
from entrepot.cli.warm.image_pull import ALL, own_platform
from entrepot.config.settings import Config

STDOUT = "-"
_OUTPUT = typer.Option("-o", "--output", metavar="FILE|-", help="write it here, or to stdout")
_PLATFORM = typer.Option(
    "--platform", metavar="OS/ARCH,…", help="of an index these only; all that are here by default"
)
_JSON = typer.Option("--json", help="say what was written as JSON")


@command(
    settings=FOLDER,
    details="The archive is an OCI image layout in a tar: skopeo (oci-archive:), docker load,"
    " ctr image import and entrepot import read it. Each object is verified while it is written.",
    examples=(
        ("entrepot export redis:7 -o redis.tar", "one image"),
        ("entrepot export ghcr.io/acme/ -o acme.tar", "all below a name"),
        ("entrepot export redis:7 --platform linux/arm64 -o redis.tar", "for one platform"),
    ),
)
def export(
    config: Config,
    names: Images,
    *,
    output: Annotated[str, _OUTPUT],
    platforms: Annotated[str | None, _PLATFORM] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Write them. Raises ``StartError`` where one is not cached, or not whole."""
    if output == STDOUT and as_json:
        raise typer.BadParameter("the archive goes to stdout already", param_hint="--json")
    if output == STDOUT and sys.stdout.isatty():
        raise StartError("a tar is not for a terminal; name a file by -o FILE")
    wanted = [one for one in (platforms or "").split(",") if one and one != ALL]
    with written(output) as out, administrator(config.data) as ask:
        plan = Planning(ask, wanted, own_platform()).plan(names)
        with Progress("exporting", plan.size) as progress:
            write_archive(out, plan, progress.task("objects", plan.size).advance)
    if as_json:
        document = {"file": output, "images": plan.images, "objects": len(plan.parts)}
        print_document({**document, "size": plan.size}, "json")
        return
    said = f"exported {len(plan.images)} images, {len(plan.parts)} objects, {size(plan.size)}"
    print(said, file=sys.stderr)


@contextmanager
def written(output: str) -> Iterator[IO[bytes]]:
    """Where to write; a file appears under its name once it is whole."""
    if output == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    file, name = tempfile.mkstemp(".part", f".{path.name}-", path.parent)
    try:
        with os.fdopen(file, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
