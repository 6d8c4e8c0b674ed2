"""The table of events, its fields and the counters, compared with every place that logs."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from entrepot.events.counters import Counter
from entrepot.events.fields import EventFields
from entrepot.events.table import Event
from test_layers import PACKAGE

METHODS = {"log", "log_once", "log_traced", "count"}
SHAPE = re.compile(r"[a-z]+(_[a-z]+)+")
OTHER_LOGGERS = {
    "events/lines.py",  # how lines are written
    "events/log.py",  # ours
    "mitm/library_log.py",  # mitmproxy's lines, as ours
    "mitm/addon.py",  # a start that fails, by mitmproxy's log; mitmproxy's level
    "mitm/master.py",  # the levels of libraries
    "admin/listening.py",  # the level of a library
    "mitm/hooks/tls_contexts.py",  # a filter of mitmproxy's lines
}


@dataclass(frozen=True, slots=True)
class Site:
    """A call that logs or counts."""

    where: str
    method: str
    names: frozenset[str]
    """``Event.X`` and ``Counter.X``, of which the call takes one."""
    fields: frozenset[str | None]
    """None stands for ``**fields``."""


def _sites() -> Iterator[Site]:
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.parent.name == "events":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _is_of_events(node.func):
                assert isinstance(node.func, ast.Attribute)
                yield Site(
                    f"{file.relative_to(PACKAGE)}:{node.lineno}",
                    node.func.attr,
                    frozenset(_named(node.args[0])),
                    frozenset(keyword.arg for keyword in node.keywords),
                )


def _is_of_events(function: ast.expr) -> bool:
    """Whether it is a method of ``Events``, which is called ``events`` everywhere."""
    if not (isinstance(function, ast.Attribute) and function.attr in METHODS):
        return False
    return re.search(r"\bevents(\(\))?$", ast.unparse(function.value).replace("_", " ")) is not None


def _named(argument: ast.expr) -> Iterator[str]:
    for node in ast.walk(argument):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("Event", "Counter"):
            yield ast.unparse(node)


SITES = list(_sites())


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.where)
def test_a_line_has_the_fields_of_its_row(site: Site) -> None:
    """No place logs a field that the table does not have for that event, nor one it hides."""
    assert site.names
    for name in site.names:
        allowed = Event[name.removeprefix("Event.")].row.fields if "Event." in name else ()
        assert site.fields <= set(allowed)


def test_every_row_and_every_field_is_used() -> None:
    """The table promises nothing that is never logged."""
    used: dict[str, set[str | None]] = {}
    for site in SITES:
        for name in site.names:
            once = {"suppressed"} if site.method == "log_once" else set()
            used.setdefault(name, set()).update(site.fields, once)
    table = {f"Event.{event.name}": set(event.row.fields) for event in Event}
    assert used == {**table, **{f"Counter.{counter.name}": set() for counter in Counter}}


def test_there_is_one_vocabulary() -> None:
    """The fields of the rows are those that have a meaning, each with its own words."""
    assert {name for event in Event for name in event.row.fields} == set(
        EventFields.__annotations__
    )


def test_names_are_a_noun_and_a_verb() -> None:
    """But for the first line, which scripts wait for. Events and counters share no name."""
    labels = [one.label for kind in (Event, Counter) for one in kind]
    assert [label for label in labels if not SHAPE.fullmatch(label)] == ["listening"]
    assert len(labels) == len(set(labels))


def test_no_row_is_another_ones() -> None:
    """Members of an enumeration with equal values would be one."""
    assert len(Event.__members__) == len(list(Event))
    assert len(Counter.__members__) == len(list(Counter))


def test_nothing_else_writes_to_the_log() -> None:
    """A module that imports logging has a reason."""
    importing = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(r"^import logging|^from logging", file.read_text(), re.MULTILINE)
    }
    levels = {
        "events/table.py",
        "events/row.py",
        "events/process_rows.py",
        "events/documentation.py",
    }
    assert importing - levels == OTHER_LOGGERS
