"""``entrepot rm``: images removed from the cache, and what only they were made of."""

import sys
from typing import Annotated

import typer

from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.images.image_argument import Images
from entrepot.config.settings import Config


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="What other images are made of, too, stays. Pulls that run go on.",
    examples=(
        ("entrepot rm redis:6", "one image"),
        ("entrepot rm ghcr.io/acme/ --dry-run", "say what would go of all below a name"),
    ),
)
def rm(
    config: Config,
    form: str,
    names: Images,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go")] = False,
) -> None:
    """Remove them and print what went. Raises ``StartError`` where one is not cached."""
    with administrator(config.data) as ask:
        answer = ask({"do": "remove", "names": list(names), "dry_run": dry_run})
    if form != "table":
        print_document({name: value for name, value in answer.items() if name != "ok"}, form)
        return
    for word, done in (("removed", answer["removed"]), ("untagged", answer["untagged"])):
        for name in done:
            print(f"{word} {name}")
    would = "would be freed" if dry_run else "freed"
    print(f"{size(answer['freed'])} in {answer['objects']} objects {would}", file=sys.stderr)
