"""``Cache-Status``: one table of values, for the code and for the documentation."""

import re
from pathlib import Path

import entrepot
from entrepot.protocol import cache_status

ADDON = Path(entrepot.__file__).parent
# RFC 9211 section 2: the cache's name, and parameters of Structured Fields (RFC 8941).
VALUE = re.compile(
    r"entrepot(; (hit|stored|collapsed|fwd=(miss|bypass)|fwd-status=\d{3}|detail=\w+))+"
)


def test_cache_status_names_this_cache() -> None:
    """In the shape of RFC 9211."""
    assert cache_status.STORED == ("Cache-Status", "entrepot; fwd=miss; stored")
    assert cache_status.miss(404) == ("Cache-Status", "entrepot; fwd=miss; fwd-status=404")
    assert cache_status.bypass("upload") == ("Cache-Status", "entrepot; fwd=bypass; detail=upload")


def test_the_table_has_every_value() -> None:
    """One row each, with the value as it is sent and what it means."""
    head, rule, *rows = cache_status.markdown_table().splitlines()
    assert (head, rule) == ("| value | meaning |", "| --- | --- |")
    cells = [row.strip("| ").split(" | ") for row in rows]
    values = [value.strip("`") for value, _ in cells]
    constants = {
        field[1]
        for name, field in vars(cache_status).items()
        if name.isupper() and isinstance(field, tuple)
    }
    made = {cache_status.miss(401)[1], cache_status.bypass("tags")[1]}
    assert (sorted(values), len(constants)) == (sorted(constants | made), 16)
    assert all(VALUE.fullmatch(value) for value in values)
    assert all(meaning for _, meaning in cells)


def test_values_stand_nowhere_else() -> None:
    """Who adds one finds the table, and the documentation has it."""
    spelt = re.compile(r"\"(hit\"|hit;|fwd=|detail=|Cache-Status)")
    reading = {"cache_status.py", "outcome.py", "log.py", "of_pull.py"}
    others = [file for file in ADDON.rglob("*.py") if file.name not in reading]
    assert [str(file) for file in others if spelt.search(file.read_text(encoding="utf-8"))] == []
