"""``entrepot pin`` and ``entrepot unpin``: images that are not evicted, or are again."""

import sys
from collections.abc import Sequence

from entrepot.cli.images.administrator import administrator, print_json
from entrepot.cli.images.text_table import size
from entrepot.config.settings import Config


def run(config: Config, names: Sequence[str], form: str, *, pin: bool) -> None:
    """Do it, and say it. Raises ``StartError`` where one is not cached, or all is too much."""
    word = "pin" if pin else "unpin"
    with administrator(config.data) as ask:
        answer = ask({"do": word, "names": list(names)})
    if form == "json":
        print_json({name: value for name, value in answer.items() if name != "ok"})
        return
    for name in answer["names"]:
        print(f"{word}ned {name}")
    print(f"{size(answer['pinned'])} are pinned in all", file=sys.stderr)
