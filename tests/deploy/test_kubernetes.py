"""The manifests of deploy/kubernetes: by Kubernetes' own schemas, and that they fit together."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from entrepot.config.settings import Config
from rig.command import Program, check
from rig.needs import need
from rig.process import clean_environment, program

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
VERSIONS = ("1.28", "1.37")
"""The oldest that somebody still runs, and the newest that the schemas are there for."""
OTHERS = {"kustomization.yaml", "podmonitor.yaml"}
"""Whose kinds are not Kubernetes' own."""
NAME = {"app.kubernetes.io/name": "entrepot"}


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((FOLDER / name).read_text())
    return loaded


def container() -> dict[str, Any]:
    (one,) = manifest("statefulset.yaml")["spec"]["template"]["spec"]["containers"]
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted({path.name for path in FOLDER.glob("*.yaml")} - OTHERS))
def test_it_is_of_kubernetes_schema(name: str, version: str) -> None:
    """With no field that the schema does not know."""
    schemas = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate: pip")
    schemas.validate(manifest(name), version, strict=True)


def test_all_of_it_is_applied_at_once() -> None:
    """What needs the Prometheus Operator's kind is left to who has it."""
    listed = set(manifest("kustomization.yaml")["resources"])
    assert listed == {path.name for path in FOLDER.glob("*.yaml")} - OTHERS


def test_kubectl_builds_it(folder: Path) -> None:
    need("kubectl")
    kubectl = Program(folder / "kubectl", [program("kubectl")], clean_environment(folder))
    built = list(YAML(typ="safe").load_all(check(kubectl.run("kustomize", FOLDER))))
    assert {one["kind"] for one in built} == {
        "Namespace",
        "NetworkPolicy",
        "Service",
        "StatefulSet",
    }
    assert {one["metadata"].get("namespace", "entrepot") for one in built} == {"entrepot"}


def test_all_mean_the_same_pods_and_port() -> None:
    """The selectors are the pods' labels, and the port that is named is the proxy's."""
    stateful = manifest("statefulset.yaml")["spec"]
    selectors = [
        stateful["selector"]["matchLabels"],
        manifest("service.yaml")["spec"]["selector"],
        manifest("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        manifest("podmonitor.yaml")["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [NAME] * 4
    assert stateful["template"]["metadata"]["labels"] == NAME
    (port,) = container()["ports"]
    assert port == {"name": "proxy", "containerPort": 3128, "protocol": "TCP"}
    assert port["containerPort"] == Config(data=FOLDER).listen.port
    ports = [
        *(one["targetPort"] for one in manifest("service.yaml")["spec"]["ports"]),
        *(one["port"] for one in manifest("networkpolicy.yaml")["spec"]["ingress"][0]["ports"]),
        *(one["port"] for one in manifest("podmonitor.yaml")["spec"]["podMetricsEndpoints"]),
        *(container()[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness")),
    ]
    assert set(ports) == {"proxy"}


def test_the_monitor_is_one_of_the_operators() -> None:
    """Of its custom resource's structure: github.com/prometheus-operator, monitoring/v1."""
    monitor = manifest("podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(monitor["spec"]) <= {"selector", "namespaceSelector", "podMetricsEndpoints"}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "proxy", "path": "/metrics", "interval": "30s"}


def test_a_stop_is_waited_for() -> None:
    pod = manifest("statefulset.yaml")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= Config(data=FOLDER).drain + 5
