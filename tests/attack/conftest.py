"""Fixtures of the attacks."""

import secrets

import pytest

from rig.client import Client
from rig.proxy import Entrepot


@pytest.fixture
def client(entrepot: Entrepot) -> Client:
    """A client that trusts nothing but the proxy's authority."""
    return entrepot.client()


@pytest.fixture
def attack_seed(request: pytest.FixtureRequest) -> str:
    """What decides every random choice of an attack; it is shown with a failure."""
    given: str | None = request.config.getoption("--attack-seed")
    return given or secrets.token_hex(4)
