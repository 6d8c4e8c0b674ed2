"""The lines to run at clients."""

import subprocess

import pytest

from entrepot.admin.data.setup_lines import recipes
from entrepot.endpoints.setup.cache_address import CacheAddress
from rig.needs import need

PROXY, FINGERPRINT = CacheAddress("10.0.0.1", 3128), "AB:CD"


@pytest.mark.parametrize("recipe", recipes(PROXY, FINGERPRINT), ids=lambda recipe: recipe.key)
def test_each_recipe_is_shell(recipe: object) -> None:
    """A POSIX shell reads it, and it names the proxy."""
    need("dash")
    lines = recipe.lines  # type: ignore[attr-defined]
    assert PROXY.url in lines
    subprocess.run(["dash", "-n"], input=lines.encode(), check=True, timeout=10)
