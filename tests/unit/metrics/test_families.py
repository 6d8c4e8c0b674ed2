"""The table of metrics: complete, and fit for Prometheus and for the documentation."""

import re

from entrepot.events.counters import Counter
from entrepot.metrics.documentation import metrics_table
from entrepot.metrics.engine_families import COUNTERS, IN_RECORDS
from entrepot.metrics.family import Kind
from entrepot.metrics.metrics import FAMILIES


def test_each_counter_is_a_metric_or_in_one() -> None:
    """What /healthz counts, /metrics has."""
    exported = [counter for children in COUNTERS.values() for _, counter in children]
    assert sorted([*exported, *IN_RECORDS], key=str) == sorted(Counter, key=str)


def test_names_are_as_prometheus_wants_them() -> None:
    """https://prometheus.io/docs/practices/naming/, as far as promtool does not look."""
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert re.fullmatch(r"(entrepot|registry_proxy)_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert bool(family.buckets) == (family.kind is Kind.HISTOGRAM)
        assert list(family.buckets) == sorted(family.buckets)
        assert family.meaning.endswith(".")


def test_the_table_has_a_row_for_each() -> None:
    header, _, *rows = metrics_table().splitlines()
    assert header == "| metric | type | labels | meaning |"
    assert [row.split("`")[1] for row in rows] == [family.name for family in FAMILIES]
    assert all(row.count("|") == 5 for row in rows)
