"""What is in a root certificate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from entrepot_ca import create

NOW = datetime.now(UTC).replace(microsecond=0)


def test_five_years(tmp_path: Path) -> None:
    """A root lives five years."""
    assert create(tmp_path, now=NOW).expires == NOW + timedelta(days=5 * 365)


def test_each_its_own(tmp_path: Path) -> None:
    """Two authorities share neither key nor subject nor serial number."""
    one, two = (create(tmp_path / name, now=NOW).certificate for name in "ab")
    assert one.public_key() != two.public_key()
    assert one.subject != two.subject
    assert one.serial_number != two.serial_number
