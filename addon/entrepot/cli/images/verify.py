"""``entrepot verify``: what is stored is read and hashed, and set aside where it is damaged."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.progress import Progress
from entrepot.cli.frame.text_table import print_table, size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.images.image_argument import IMAGE, cached_images
from entrepot.config.settings import Config
from entrepot.control.client import Ask

_IMAGES = typer.Argument(
    metavar="[IMAGE]...", help=IMAGE, autocompletion=cached_images, show_default=False
)


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="Reads and hashes all that is stored, or what the images are made of, beside the"
    " pulls. What is damaged is moved to quarantine/ in the data folder, and fetched anew by the"
    " next pull; the command ends with 1 then.",
    examples=(
        ("entrepot verify", "everything"),
        ("entrepot verify redis:7 ghcr.io/acme/", "these images"),
        ("entrepot verify --json", "for programs"),
    ),
)
def verify(
    config: Config,
    form: str,
    names: Annotated[list[str] | None, _IMAGES] = None,
) -> None:
    """Verify named images, or without names all. Raises ``StartError``, also for damage."""
    with administrator(config.data) as ask:
        result = _verified(ask, names or [])
    damaged = result["damaged"]
    if form != "table":
        print_document(result, form)
    elif damaged:
        rows = [
            [name, one["kind"], one["digest"], one["reason"], one["moved_to"] or "-"]
            for one in damaged
            for name in one["images"] or ["-"]
        ]
        print_table(["IMAGE", "KIND", "DIGEST", "DAMAGE", "MOVED TO"], rows, set())
    if form == "table":
        text = f"{result['verified']} objects, {size(result['size'])}, {len(damaged)} damaged"
        print(f"verified {text}", file=sys.stderr)
    if damaged:
        raise StartError(
            f"{len(damaged)} damaged objects were set aside; the next pulls fetch them again"
        )


def _verified(ask: Ask, names: Sequence[str]) -> dict[str, Any]:
    first = _page(ask, names, "")
    result: dict[str, Any] = {"verified": 0, "size": 0, "gone": 0, "damaged": []}
    with Progress("verifying", first["size"]) as progress:
        task = progress.task("objects", first["size"])
        for page in _pages(ask, names, first):
            left = page
            while left:
                step = ask({"do": "verify", "objects": left})
                done, left = left[: step["done"]], left[step["done"] :]
                result["verified"] += len(done) - step["gone"]
                result["size"] += step["size"]
                result["gone"] += step["gone"]
                result["damaged"] += step["damaged"]
                task.advance(sum(one["size"] for one in done))
    return result


def _pages(ask: Ask, names: Sequence[str], page: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    while True:
        yield page["objects"]
        if page["next"] is None:
            return
        page = _page(ask, names, page["next"])


def _page(ask: Ask, names: Sequence[str], after: str) -> dict[str, Any]:
    return ask({"do": "objects", "names": list(names), "after": after})
