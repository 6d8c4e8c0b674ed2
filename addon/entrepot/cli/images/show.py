"""``entrepot show``: one image, or those of a repository, and what each is made of."""

from typing import Any

from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.text_table import age, print_table, size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.images.image_argument import Image
from entrepot.cli.images.ls import state
from entrepot.config.settings import Config


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    examples=(
        ("entrepot show redis:7", "one image"),
        ("entrepot show ghcr.io/acme/app", "all that is here of a repository"),
    ),
)
def show(
    config: Config,
    form: str,
    name: Image,
) -> None:
    """Print it. Raises ``StartError`` where it is not cached."""
    with administrator(config.data) as ask:
        images = ask({"do": "image", "name": name})["images"]
    if form != "table":
        print_document({"images": images}, form)
        return
    for number, image in enumerate(images):
        if number:
            print()
        _print(image)


def _print(image: dict[str, Any]) -> None:
    for name in image["names"]:
        print(name)
    rows = (
        ("digest", image["digest"]),
        ("type", image["media_type"]),
        ("platforms", ", ".join(image["platforms"]) or "-"),
        ("size", f"{size(image['size'])}, of which {size(image['freed'])} are in no other image"),
        ("stored", f"{image['stored']}, {age(image['stored'])} ago"),
        ("used", f"{image['used']}, {age(image['used'])} ago"),
        ("state", state(image) or "complete"),
    )
    for name, text in rows:
        print(f"  {name:10} {text}")
    table = [
        [one["digest"], one["kind"], size(one["size"]), age(one["used"]), str(one["images"])]
        for one in image["objects"]
    ]
    print_table(["OBJECT", "KIND", "SIZE", "USED", "IMAGES"], table, {2, 4})
