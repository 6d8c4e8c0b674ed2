"""``entrepot ls``: the images that are cached, or what is evicted next."""

from typing import Annotated, Any, Literal

import typer

from entrepot.cli.frame.definition import FOLDER, WIDE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import age, print_table, size
from entrepot.cli.images.administrator import administrator
from entrepot.config.settings import Config
from entrepot.control.client import Ask

_ON_A_PAGE = 1000
_SHORT = len("sha256:") + 12


_FILTER = typer.Argument(
    metavar="[FILTER]",
    help="a part of an image's name, or a pattern with * and ?",
    show_default=False,
)


@command(
    settings=FOLDER,
    forms=WIDE_FORMS,
    details="SIZE counts an image's layers, FREED those that are in no other image; USED is how"
    " long ago somebody last pulled it.",
    examples=(
        ("entrepot ls", "all images"),
        ("entrepot ls redis --sort size", "those with redis in their name, the largest first"),
        ("entrepot ls 'ghcr.io/acme/*' -o wide", "a pattern, with digests and platforms"),
        ("entrepot ls --next", "what is evicted next, where there is no room"),
    ),
)
def ls(
    config: Config,
    form: str,
    text: Annotated[str, _FILTER] = "",
    *,
    sort: Annotated[Literal["name", "size", "used"], typer.Option(help="in which order")] = "name",
    evicted_next: Annotated[
        bool, typer.Option("--next", help="what is evicted next, instead of images")
    ] = False,
) -> None:
    """Print what there is. Raises ``StartError``."""
    if evicted_next:
        _run_next(config, form)
    else:
        _run(config, text, sort, form)


def _run(config: Config, text: str, sort: str, form: str) -> None:
    """Print those one of whose names has ``text`` in it. Raises ``StartError``."""
    with administrator(config.data) as ask:
        answer = _all(ask, text, sort)
    if form in ("json", "yaml"):
        print_document(answer, form)
        return
    wide = form == "wide"
    rows = [row for image in answer["images"] for row in _rows(image, wide=wide)]
    header = ["IMAGE", "SIZE", "FREED", "STORED", "USED", "STATE"]
    if wide:
        header += ["PLATFORMS", "DIGEST", "TYPE"]
    print_table(header, rows, {1, 2})
    _print_totals(answer)


def _run_next(config: Config, form: str) -> None:
    """Print what is evicted next, the first first. Raises ``StartError``."""
    with administrator(config.data) as ask:
        answer = ask({"do": "evicted_next", "limit": _ON_A_PAGE if form != "table" else 20})
    if form in ("json", "yaml"):
        print_document({"objects": answer["objects"]}, form)
        return
    rows = [
        [one["image"] or "-", one["kind"], size(one["size"]), age(one["used"]), one["digest"]]
        for one in answer["objects"]
    ]
    if form == "table":
        rows = [[*row[:-1], row[-1][:_SHORT]] for row in rows]
    print_table(["IMAGE", "KIND", "SIZE", "USED", "DIGEST"], rows, {2})


def _all(ask: Ask, text: str, sort: str) -> dict[str, Any]:
    """Every page, as one document."""
    images: list[Any] = []
    offset: int | None = 0
    answer: dict[str, Any] = {}
    while offset is not None:
        answer = ask(
            {"do": "images", "filter": text, "sort": sort, "offset": offset, "limit": _ON_A_PAGE}
        )
        images += answer["images"]
        offset = answer["next_offset"]
    return {"images": images, "totals": answer["totals"], "limit": answer["limit"]}


def _rows(image: dict[str, Any], *, wide: bool) -> list[list[str]]:
    """A row for each name; what the image takes stands with the first."""
    row = [
        size(image["size"]),
        size(image["freed"]),
        age(image["stored"]),
        age(image["used"]),
        state(image),
    ]
    if wide:
        row += [",".join(image["platforms"]) or "-", image["digest"], image["media_type"]]
    names = image["names"]
    if not wide and not image["tags"]:
        names = [name[: name.index("@") + 1 + _SHORT] for name in names]
    return [[name, *row] for name in names]


def state(image: dict[str, Any]) -> str:
    """What is to be known of it in a word or two; empty where it is as it should be."""
    words = {"incomplete": not image["complete"], "pinned": image["pinned"]}
    return ", ".join(word for word, holds in words.items() if holds)


def _print_totals(answer: dict[str, Any]) -> None:
    totals, limit = answer["totals"], answer["limit"]
    of = f" of {size(limit)}" if limit is not None else ""
    other = f"; {size(totals['other'])} in no image" if totals["other"] else ""
    print(f"{totals['images']} images, {size(totals['size'])}{of}{other}")
