"""``entrepot rm``: images removed from the cache, and what only they were made of."""

import sys
from collections.abc import Sequence

from entrepot.cli.images.administrator import administrator, print_json
from entrepot.cli.images.text_table import size
from entrepot.config.settings import Config


def run(config: Config, names: Sequence[str], form: str, *, dry_run: bool) -> None:
    """Remove them and print what went. Raises ``StartError`` where one is not cached."""
    with administrator(config.data) as ask:
        answer = ask({"do": "remove", "names": list(names), "dry_run": dry_run})
    if form == "json":
        print_json({name: value for name, value in answer.items() if name != "ok"})
        return
    for word, done in (("removed", answer["removed"]), ("untagged", answer["untagged"])):
        for name in done:
            print(f"{word} {name}")
    would = "would be freed" if dry_run else "freed"
    print(f"{size(answer['freed'])} in {answer['objects']} objects {would}", file=sys.stderr)
