"""An authority near its end says so in time."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from entrepot_ca import create

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartEntrepot


@pytest.mark.parametrize(("days_left", "warned"), [(20, True), (40, False)])
def test_an_expiring_authority_warns_from_30_days_ahead(
    folder: "Path",
    start_entrepot: "StartEntrepot",
    days_left: int,
    warned: bool,  # noqa: FBT001 a column of the table
) -> None:
    """The administrator hears of it at every start, with the command that replaces it."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    age = create(folder / "probe", now=datetime.now(UTC)).expires - datetime.now(UTC)
    create(data / "ca", now=datetime.now(UTC) - age + timedelta(days=days_left))
    log = start_entrepot(data=str(data)).log
    assert ("authority_expires" in log) is warned
    assert ('hint="entrepot ca rotate"' in log) is warned
