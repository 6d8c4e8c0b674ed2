"""Fixtures for attacks at the socket, and the option of a long form."""

import pytest

from rig.client import Client
from rig.proxy import Entrepot


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table",
        metavar="FILE",
        help="pull every fault with every client, and write the table (about 15 minutes)",
    )


@pytest.fixture
def client(entrepot: Entrepot) -> Client:
    """A client that trusts nothing but the proxy's authority."""
    return entrepot.client()
