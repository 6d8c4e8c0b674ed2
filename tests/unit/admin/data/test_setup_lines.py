"""The lines to run at clients."""

import subprocess

import pytest

from entrepot.admin.data.setup_lines import one_line, recipes
from rig.needs import need

PROXY, FINGERPRINT = "10.0.0.1:3128", "AB:CD"


def test_the_one_line_has_all_that_is_needed() -> None:
    """Where the proxy is, and whom to trust."""
    line = one_line(PROXY, FINGERPRINT)
    assert line == f"curl -fsS http://{PROXY}/setup | sudo sh -s -- --fingerprint {FINGERPRINT}"


@pytest.mark.parametrize("recipe", recipes(PROXY, FINGERPRINT), ids=lambda recipe: recipe.key)
def test_each_recipe_is_shell(recipe: object) -> None:
    """A POSIX shell reads it, and it names the proxy."""
    need("dash")
    lines = recipe.lines  # type: ignore[attr-defined]
    assert PROXY in lines
    subprocess.run(["dash", "-n"], input=lines.encode(), check=True, timeout=10)
