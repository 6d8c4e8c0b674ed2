"""``entrepot verify``: what is stored is read and hashed, and set aside where it is damaged."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from entrepot.app.start_error import StartError
from entrepot.cli.images.administrator import administrator, print_json
from entrepot.cli.images.progress import bar
from entrepot.cli.images.text_table import print_table, size
from entrepot.config.settings import Config
from entrepot.control.client import Ask


def run(config: Config, names: Sequence[str], form: str) -> None:
    """Verify named images, or without names all. Raises ``StartError``, also for damage."""
    with administrator(config.data) as ask:
        result = _verified(ask, names)
    damaged = result["damaged"]
    if form == "json":
        print_json(result)
    elif damaged:
        rows = [
            [name, one["kind"], one["digest"], one["reason"], one["moved_to"] or "-"]
            for one in damaged
            for name in one["images"] or ["-"]
        ]
        print_table(["IMAGE", "KIND", "DIGEST", "DAMAGE", "MOVED TO"], rows, set())
    if form != "json":
        text = f"{result['verified']} objects, {size(result['size'])}, {len(damaged)} damaged"
        print(f"verified {text}", file=sys.stderr)
    if damaged:
        raise StartError(
            f"{len(damaged)} damaged objects were set aside; the next pulls fetch them again"
        )


def _verified(ask: Ask, names: Sequence[str]) -> dict[str, Any]:
    first = _page(ask, names, "")
    result: dict[str, Any] = {"verified": 0, "size": 0, "gone": 0, "damaged": []}
    with bar("verifying", first["size"]) as advance:
        for page in _pages(ask, names, first):
            left = page
            while left:
                step = ask({"do": "verify", "objects": left})
                done, left = left[: step["done"]], left[step["done"] :]
                result["verified"] += len(done) - step["gone"]
                result["size"] += step["size"]
                result["gone"] += step["gone"]
                result["damaged"] += step["damaged"]
                advance(sum(one["size"] for one in done))
    return result


def _pages(ask: Ask, names: Sequence[str], page: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    while True:
        yield page["objects"]
        if page["next"] is None:
            return
        page = _page(ask, names, page["next"])


def _page(ask: Ask, names: Sequence[str], after: str) -> dict[str, Any]:
    return ask({"do": "objects", "names": list(names), "after": after})
