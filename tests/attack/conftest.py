"""The option for the long form, known where this folder is named on the command line."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-table",
        metavar="FILE",
        help="pull every fault with every client, and write the table (about 15 minutes)",
    )
