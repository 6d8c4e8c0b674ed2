"""The tables for the administrator, made from those of the code."""

import logging

from entrepot.events.counters import Counter
from entrepot.events.documentation import counters_table, markdown_table
from entrepot.events.table import Event


def test_the_table_of_events_has_a_row_for_each() -> None:
    """Sorted by name, each with its level and fields, on one line."""
    header, rule, *rows = markdown_table().splitlines()
    assert (header, rule) == (
        "| event | level | fields | what it means | what to do |",
        "| --- | --- | --- | --- | --- |",
    )
    assert [row.split("`")[1] for row in rows] == sorted(event.label for event in Event)
    assert (
        "| `blob_lost` | WARNING | `digest`, `offset` | The disk failed while a blob was being "
        "sent; the rest came from the registry. | Look at the disk. |"
    ) in rows


def test_no_text_breaks_its_row() -> None:
    """Each has five cells: a bar in a text is escaped."""
    for row in markdown_table().splitlines():
        assert row.replace(r"\|", "").count("|") == 6
        assert (row[0], row[-1]) == ("|", "|")


def test_texts_are_whole_sentences() -> None:
    """Of a warning it is said what to do, if only that there is nothing to do."""
    for event in Event:
        texts = [event.row.meaning, event.row.remedy]
        assert all(text.endswith(".") for text in texts if text), event
        assert texts[1] or event.row.level < logging.WARNING, event
    assert all(counter.meaning.endswith(".") for counter in Counter)


def test_the_table_of_counters_has_a_row_for_each() -> None:
    """In the order of the code, which groups them."""
    rows = counters_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [counter.label for counter in Counter]
    assert rows[0] == "| `blob_hits` | Blobs served from the disk. |"
