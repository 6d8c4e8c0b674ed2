"""The alerts that we deploy: promtool takes them, and each fires in its trouble alone."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rig.needs import need
from rig.prometheus import ALERTS, CONFIGURATION, names, promtool, rules

TESTS = Path(__file__).with_name("alerts_test.yaml")


def test_promtool_takes_rules_and_configuration() -> None:
    need("promtool")
    assert promtool("check", "rules", ALERTS) == ""
    assert promtool("check", "config", CONFIGURATION) == ""


def test_each_alert_fires_in_its_trouble_and_is_silent_otherwise() -> None:
    need("promtool")
    assert promtool("test", "rules", TESTS) == ""


def test_each_alert_is_tested() -> None:
    """In the first of the two tests, by an instant at which it fires."""
    trouble, _ = YAML(typ="safe").load(TESTS)["tests"]
    fires = {one["alertname"] for one in trouble["alert_rule_test"] if one.get("exp_alerts")}
    assert fires == {rule["alert"] for rule in rules()}


def test_each_alert_says_what_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("up == 0", {"up"}),
        ('a_total{b="c", d=~"e|f"} / on (g, h) group_left (i) j', {"a_total", "j"}),
        ("sum by (a) (rate(b_total[5m])) > 0.05 and time() - c < 2 * 86400", {"b_total", "c"}),
        ('histogram_quantile(0.5, sum(rate(a_bucket{b="{c}"}[4s])) by (le))', {"a_bucket"}),
        ("a offset 5m unless b > 1e9", {"a", "b"}),
    ],
)
def test_names_of_queries(query: str, named: set[str]) -> None:
    assert names(query) == named
