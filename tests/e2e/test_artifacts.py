"""Clients of artifacts and of lists, before and after their registry is away."""

import json
from pathlib import Path

import pytest

from rig.artifacts import CHART_CONFIG, CHART_LAYER
from rig.clients import Podman, Skopeo
from rig.command import check
from rig.images import ImageFactory
from rig.oras import Oras
from rig.proxy import Entrepot
from rig.upstreams import Upstreams


def test_oras_finds_and_pulls_a_chart_while_the_registry_is_away(
    entrepot: Entrepot, upstreams: Upstreams, folder: Path
) -> None:
    """What it pushed and pulled before; after a restart, too."""
    pytest.importorskip("oras", reason="no oras: pip install oras")
    name, client = "hub.example.test/oras/chart", Oras(folder / "oras", entrepot.route())
    check(client.push(f"{name}:1.0.0", "a chart", CHART_LAYER, CHART_CONFIG))
    online = [check(client.pull(f"{name}:1.0.0")), check(client.tags(name))]
    assert [json.loads(one) for one in online] == [["a chart"], ["1.0.0"]]
    with upstreams.down():
        for _ in range(2):
            assert [check(client.pull(f"{name}:1.0.0")), check(client.tags(name))] == online
            assert client.tags("hub.example.test/oras/other").returncode != 0
            entrepot.restart()


def test_tags_are_listed_while_the_registry_is_away(
    skopeo: Skopeo, podman: Podman, upstreams: Upstreams, images: ImageFactory
) -> None:
    """By skopeo and podman, also where a token is wanted for it."""
    image, names = images.image("e2e tags"), []
    for host in ("hub.example.test", "registry.example.test"):
        names.append(f"{host}/public/e2e-tags")
        for tag in ("1", "2"):
            upstreams.push(image, f"{names[-1]}:{tag}")

    def listed(name: str) -> tuple[list[str], list[str]]:
        document = json.loads(check(skopeo.cli.run("list-tags", f"docker://{name}")))
        table = check(podman.cli.run("search", "--list-tags", name)).splitlines()[1:]
        return sorted(document["Tags"]), sorted(line.split()[1] for line in table)

    wanted = (["1", "2"], ["1", "2"])
    assert [listed(name) for name in names] == [wanted] * 2
    with upstreams.down():
        assert [listed(name) for name in names] == [wanted] * 2
