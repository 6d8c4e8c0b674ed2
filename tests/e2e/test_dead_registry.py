"""What real clients tell who pulls from a dead registry: the reason, not the status alone."""

from typing import TYPE_CHECKING

import pytest

from rig.clients import RealClient
from rig.ports import free_port
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

LISTED, NEVER_MET = "dead.example.test", "never-met.example.test"


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot") -> Entrepot:
    """A proxy for which nobody listens where either name leads."""
    resolve = [f"{name}:443:127.0.0.1:{free_port()}" for name in (LISTED, NEVER_MET)]
    return start_entrepot(resolve=resolve, registry=LISTED)


def test_who_pulls_is_told_why(any_client: RealClient, entrepot: Entrepot) -> None:
    """These clients show the first line of a 5xx, and of an answer to CONNECT, and no body."""
    listed = any_client.pull(f"{LISTED}/acme/app:1")
    assert listed.returncode != 0
    assert f"(upstream: https://{LISTED}: connection refused" in listed.stderr
    unknown = any_client.pull(f"{NEVER_MET}/acme/app:1")
    assert unknown.returncode != 0
    assert "Bad Gateway (Cannot connect: connection refused)" in unknown.stderr
    assert entrepot.counter("upstream_failed") >= 1
