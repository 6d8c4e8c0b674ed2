"""Prometheus: its server, its promtool, and what its queries name."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ruamel.yaml import YAML

from rig.ports import free_port
from rig.process import Daemon, answers, clean_environment, program

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yaml"
DASHBOARD = ROOT / "deploy/grafana/entrepot.json"

_OF_GRAFANA = {
    "$__rate_interval": "4s",
    "$__range": "1h",
    "$__interval": "4s",
    "$job": "entrepot",
    "$instance": ".*",
}
_NO_NAMES = re.compile(
    r"""
    "[^"]*" | '[^']*'           # texts
    | \{[^}]*\}                 # selectors, without texts
    | \[[^\]]*\]                # ranges
    | \b(?:by|without|on|ignoring|group_left|group_right) \s* \([^)]*\)
    """,
    re.VERBOSE,
)
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?![a-zA-Z0-9_:]*\s*\()")
_KEYWORDS = {"and", "or", "unless", "bool", "offset"}


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Run promtool; what it says where it is not content, else nothing."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], input=given, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    return said if done.returncode else ""


def names(query: str) -> set[str]:
    """The metrics that a query names."""
    plain = query
    while (shorter := _NO_NAMES.sub(" ", plain)) != plain:
        plain = shorter
    without_numbers = re.sub(r"\b[0-9][0-9.a-zA-Z]*", " ", plain)
    return set(_NAME.findall(without_numbers)) - _KEYWORDS


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    document = YAML(typ="safe").load(ALERTS)
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> Iterator[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def dashboard_queries() -> list[str]:
    """The queries of the dashboard, as Grafana asks them."""
    dashboard = json.loads(DASHBOARD.read_text())
    marked = [one["expr"] for one in dashboard["annotations"]["list"] if "expr" in one]
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [_asked(query) for query in (*queries, *marked)]


def _asked(query: str) -> str:
    for variable, value in _OF_GRAFANA.items():
        query = query.replace(variable, value)
    return query


class Prometheus:
    """A server with the configuration that we deploy, but for the times and the target."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        self.port = free_port()
        document = YAML(typ="safe").load(CONFIGURATION)
        document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        document["rule_files"] = [str(ALERTS)]
        document["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        configuration = folder / "prometheus.yaml"
        with configuration.open("w") as file:
            YAML().dump(document, file)
        self.daemon = Daemon(
            "prometheus",
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            log=folder / "prometheus.log",
            env=clean_environment(folder),
            ready=lambda: answers(self.port, "/-/ready"),
            reported=False,
        )

    def query(self, query: str) -> list[dict[str, Any]]:
        """The result of a query of now; fails where Prometheus does not take it."""
        found: list[dict[str, Any]] = self._get("query", query=query)["result"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, and how that went."""
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The alerts, and how they do."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")
            document = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert document["status"] == "success", document
        data: dict[str, Any] = document["data"]
        return data
