"""``entrepot show``: one image, or those of a repository, and what each is made of."""

from typing import Any

from entrepot.cli.images.administrator import administrator, print_json
from entrepot.cli.images.ls import state
from entrepot.cli.images.text_table import age, print_table, size
from entrepot.config.settings import Config


def run(config: Config, name: str, form: str) -> None:
    """Print it. Raises ``StartError`` where it is not cached."""
    with administrator(config.data) as ask:
        images = ask({"do": "image", "name": name})["images"]
    if form == "json":
        print_json({"images": images})
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
