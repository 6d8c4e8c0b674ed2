"""``entrepot pin`` and ``entrepot unpin``: images that are not evicted, or are again."""

import sys

from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.images.image_argument import Images
from entrepot.config.settings import Config


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="A pin is of what is here now: not of what a tag will be. Pins may take half of the"
    " limit.",
    examples=(("entrepot pin postgres:17 ghcr.io/acme/", "one image, and all below a name"),),
)
def pin(config: Config, form: str, names: Images) -> None:
    """Pin them."""
    _change("pin", config, names, form)


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    examples=(("entrepot unpin postgres:17", "it may be evicted again"),),
)
def unpin(config: Config, form: str, names: Images) -> None:
    """Unpin them."""
    _change("unpin", config, names, form)


def _change(word: str, config: Config, names: list[str], form: str) -> None:
    """Do it, and say it. Raises ``StartError`` where one is not cached, or all is too much."""
    with administrator(config.data) as ask:
        answer = ask({"do": word, "names": list(names)})
    if form != "table":
        print_document({name: value for name, value in answer.items() if name != "ok"}, form)
        return
    for name in answer["names"]:
        print(f"{word}ned {name}")
    print(f"{size(answer['pinned'])} are pinned in all", file=sys.stderr)
