"""Fixtures for attacks at the socket."""

import pytest

from rig.client import Client
from rig.proxy import Entrepot


@pytest.fixture
def client(entrepot: Entrepot) -> Client:
    """A client that trusts nothing but the proxy's authority."""
    return entrepot.client()
