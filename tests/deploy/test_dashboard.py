"""The dashboard that we deploy: Prometheus takes its queries, and its panels lie side by side."""

import json
from itertools import pairwise
from pathlib import Path

from rig.needs import need
from rig.prometheus import DASHBOARD, dashboard_queries, panels, promtool


def test_promtool_takes_its_queries(tmp_path: Path) -> None:
    """Each as a rule: promtool reads no single query."""
    need("promtool")
    rules = [
        {"record": f"query:{number}", "expr": query}
        for number, query in enumerate(dashboard_queries())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert promtool("check", "rules", file) == ""


def test_every_panel_asks_the_chosen_source_and_proxies() -> None:
    for panel in panels():
        assert panel["targets"], panel["title"]
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'job="$job", instance=~"$instance"' in target["expr"], panel["title"]


def test_panels_have_their_own_place_and_number() -> None:
    every = json.loads(DASHBOARD.read_text())["panels"]
    numbers = [panel["id"] for panel in every]
    assert len(set(numbers)) == len(numbers)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in every)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_its_file_is_in_order() -> None:
    """As Grafana writes it, so that a change is a small difference."""
    document = json.loads(DASHBOARD.read_text())
    assert DASHBOARD.read_text() == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    tops = [panel["gridPos"]["y"] for panel in document["panels"]]
    assert all(above <= below for above, below in pairwise(tops))
