"""Sizes and ages as people say them."""

from datetime import UTC, datetime

import pytest

from entrepot.cli.frame.text_table import age, print_table, size


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (48_444_211, "46.2 MiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes(count: int, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-27T12:00:00Z", "now"),
        ("2026-11-27T12:00:05Z", "now"),
        ("2026-11-27T11:59:01Z", "59 s"),
        ("2026-11-27T11:00:01Z", "59 min"),
        ("2026-11-26T12:00:01Z", "23 h"),
        ("2025-11-28T12:00:00Z", "364 d"),
        ("1970-01-01T00:00:00Z", "56 y"),
    ],
)
def test_ages(text: str, said: str) -> None:
    """A clock that was set back makes nothing of the future."""
    assert age(text, datetime(2026, 11, 27, 12, tzinfo=UTC)) == said


def test_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut where it is no terminal: a program may read it."""
    print_table(["NAME", "SIZE"], [["x" * 200, "1 B"], ["y", "10 B"]], {1})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{name:200}  {size:>4}"
        for name, size in (
            ("NAME", "SIZE"),
            ("x" * 200, "1 B"),
            ("y", "10 B"),
        )
    ]
