"""The wheel holds all that the proxy needs; `.ci/run` installs it and sets ENTREPOT_PYTHON."""

import subprocess
from pathlib import Path

import pytest

from rig.images import ImageFactory
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

_CHECKOUT = Path(__file__).parents[2]
_WHERE = (
    "import importlib.util as u\n"
    "print(*(u.find_spec(n).origin for n in ('entrepot', 'entrepot_ca')), sep='\\n')"
)


def _packages() -> list[Path]:
    """Where the interpreter under test finds our packages."""
    found = subprocess.run(
        [PYTHON, "-c", _WHERE], check=True, capture_output=True, text=True, cwd="/", env={}
    )
    return [Path(line) for line in found.stdout.splitlines()]


def test_a_second_pull_is_local(
    entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """From the installed package alone, the second pull fetches no blob from upstream."""
    if any(path.is_relative_to(_CHECKOUT) for path in _packages()):
        pytest.skip("the checkout itself is installed there: see .ci/run")
    image = images.image("wheel")
    upstreams.push(image, "registry.example.test/public/wheel:1")
    client = entrepot.client()
    url = "https://registry.example.test/v2/public/wheel"
    token = {"Authorization": client.authorization(f"{url}/manifests/1")}
    statuses, mark = [], 0
    for _ in range(2):
        mark = upstreams.mark()
        assert client.manifest(f"{url}/manifests/1", token).digest == image.digest
        answer = client.get(f"{url}/blobs/{image.layers[0].digest}", token)
        assert answer.body == image.layers[0].read()
        statuses.append(answer.cache_status)
    assert statuses == ["entrepot; fwd=miss; stored", "entrepot; hit"]
    assert upstreams.requests(mark).blob_bytes == 0
    # Texts that are no code are in it too.
    assert entrepot.local("/setup").status == 200
    assert entrepot.local("/setup/cloud-init").status == 200
    assert entrepot.local("/ui/static/x/vendor/uplot/uPlot.iife.min.js").status == 200
    assert entrepot.local("/ui/setup").status == 200
