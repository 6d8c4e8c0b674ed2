"""``entrepot prune``: images removed by rule, as registries' retention policies have it."""

import sys

from entrepot.cli.images.administrator import administrator, print_json
from entrepot.cli.images.text_table import age, print_table, size
from entrepot.config.settings import Config


def run(
    config: Config,
    text: str,
    form: str,
    *,
    keep_last: int | None,
    older_than: float | None,
    unused_for: float | None,
    dry_run: bool,
) -> None:
    """Remove them and print what went; times are seconds. Raises ``StartError``."""
    request = {
        "do": "prune",
        "filter": text,
        "keep_last": keep_last,
        "older_than": older_than,
        "unused_for": unused_for,
        "dry_run": dry_run,
    }
    with administrator(config.data) as ask:
        answer = ask(request)
    if form == "json":
        print_json({name: value for name, value in answer.items() if name != "ok"})
        return
    rows = [
        [name, size(image["size"]), age(image["stored"]), age(image["used"]), "removed"]
        for image in answer["images"]
        for name in image["names"]
    ]
    rows += [[name, "-", "-", "-", "untagged"] for name in answer["untagged"]]
    if rows:
        print_table(["IMAGE", "SIZE", "STORED", "USED", "STATE"], rows, {1})
    would = "would be freed" if dry_run else "freed"
    print(f"{size(answer['freed'])} in {answer['objects']} objects {would}", file=sys.stderr)
    if kept := answer["pinned"]:
        print(f"{len(kept)} kept since they are pinned: {', '.join(kept)}", file=sys.stderr)
