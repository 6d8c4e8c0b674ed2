"""``entrepot prune``: images removed by rule, as registries' retention policies have it."""

import sys
from typing import Annotated, Any

import typer

from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import age, print_table, size
from entrepot.cli.frame.values import parsed
from entrepot.cli.images.administrator import administrator
from entrepot.config.settings import Config
from entrepot.config.units import parse_duration

_FILTER = typer.Argument(
    metavar="[FILTER]",
    help="only images with this in their name, or like a pattern with * and ?",
    show_default=False,
)
_KEEP_LAST = typer.Option(
    "--keep-last", metavar="N", min=0, help="keep the N of each repository that were stored last"
)
_OLDER_THAN = typer.Option(
    "--older-than", metavar="DURATION", help="keep what was stored within this time"
)
_UNUSED_FOR = typer.Option(
    "--unused-for", metavar="DURATION", help="keep what was pulled within this time"
)


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="An image goes where none of the rules that are given keeps it; at least one must be."
    " Pinned images stay. Layers that other images have, too, stay.",
    examples=(
        ("entrepot prune --unused-for 30d --dry-run", "say what nobody pulled for a month"),
        ("entrepot prune 'ghcr.io/acme/*' --keep-last 3", "the last three of each repository stay"),
        ("entrepot prune --keep-last 5 --older-than 7d", "and all of the last week"),
    ),
)
def prune(
    config: Config,
    form: str,
    text: Annotated[str, _FILTER] = "",
    *,
    keep_last: Annotated[int | None, _KEEP_LAST] = None,
    older_than: Annotated[str | None, _OLDER_THAN] = None,
    unused_for: Annotated[str | None, _UNUSED_FOR] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go")] = False,
) -> None:
    """Remove them and print what went. Raises ``StartError``."""
    request = {
        "do": "prune",
        "filter": text,
        "keep_last": keep_last,
        "older_than": parsed(parse_duration, older_than, "--older-than"),
        "unused_for": parsed(parse_duration, unused_for, "--unused-for"),
        "dry_run": dry_run,
    }
    if not any(request[name] is not None for name in ("keep_last", "older_than", "unused_for")):
        raise typer.BadParameter("want --keep-last, --older-than or --unused-for")
    with administrator(config.data) as ask:
        answer = ask(request)
    if form != "table":
        print_document({name: value for name, value in answer.items() if name != "ok"}, form)
    else:
        _print(answer)


def _print(answer: dict[str, Any]) -> None:
    rows = [
        [name, size(image["size"]), age(image["stored"]), age(image["used"]), "removed"]
        for image in answer["images"]
        for name in image["names"]
    ]
    rows += [[name, "-", "-", "-", "untagged"] for name in answer["untagged"]]
    if rows:
        print_table(["IMAGE", "SIZE", "STORED", "USED", "STATE"], rows, {1})
    would = "would be freed" if answer["dry_run"] else "freed"
    print(f"{size(answer['freed'])} in {answer['objects']} objects {would}", file=sys.stderr)
    if kept := answer["pinned"]:
        print(f"{len(kept)} stay since they are pinned: {', '.join(kept)}", file=sys.stderr)
