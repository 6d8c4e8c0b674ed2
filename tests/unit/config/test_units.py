"""Sizes and durations, as administrators write them."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config.units import parse_duration, parse_duration_or_never, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1B", 1),
        ("1048576", 2**20),
        ("1K", 2**10),
        ("1k", 2**10),
        ("1KB", 1000),
        ("1KiB", 2**10),
        ("500MB", 500_000_000),
        ("50GiB", 50 * 2**30),
        ("50 GiB", 50 * 2**30),
        ("50Gi", 50 * 2**30),
        ("1.5T", 3 * 2**39),
        ("0.5kb", 500),
        ("1.5B", 1),
        ("8191.75T", 32767 * 2**38),
    ],
)
def test_size_is_read(text: str, size: int) -> None:
    """KB counts in thousands, KiB and a bare K in 1024s, fractions are cut to bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0GiB",
        "0.0001K",
        "-1",
        "+1",
        "1e9",
        "GiB",
        "1.GiB",
        ".5GiB",
        "1,5GiB",
        "1iB",
        "1i",
        "1PB",
        "1 0GiB",
        "1GiBB",
        "1GiB\n",
        "inf",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "1\N{KELVIN SIGN}",
        "9" * 16,
        "9" * 15 + "T",
    ],
)
def test_size_is_refused(text: str) -> None:
    """A size that is not plain, not positive or beyond 63 bits is an error that quotes it."""
    with pytest.raises(ValueError, match="expected a size") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@given(st.integers(1, 2**50), st.sampled_from(["", "K", "M", "KB", "MB", "KiB", "MiB"]))
def test_sizes_grow_with_their_number(number: int, unit: str) -> None:
    """A size is its number times its unit, exactly."""
    with contextlib.suppress(ValueError):
        assert parse_size(f"{number}{unit}") == number * parse_size(f"1{unit}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("5min", 300), ("1.5h", 5400), ("30d", 2592000), ("300", 300)],
)
def test_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "5x", "-1d", " 1d", "1d2h", "366d", "9999999d"])
def test_duration_is_refused(text: str) -> None:
    """None at all, and more than a year, are no durations."""
    with pytest.raises(ValueError, match="expected a duration such as 30d") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


def test_scrubbing_may_be_off() -> None:
    assert parse_duration_or_never("0") == 0
    assert parse_duration_or_never("30d") == 2592000


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1023, "1023B"),
        (1024, "1.0KiB"),
        (40 * 2**20, "40.0MiB"),
        (2**30 - 1, "1.0GiB"),  # not 1024.0MiB
        (42_090_823_680, "39.2GiB"),
        (3 * 2**39, "1.5TiB"),
        (2**63 - 1, "8388608.0TiB"),
    ],
)
def test_a_size_is_written_in_the_unit_that_fits(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(1, 2**49))
def test_no_size_reads_as_none_and_each_can_be_read_again(size: int) -> None:
    """Neither 0.0 nor 1024.0 of anything; what is read again is the nearest tenth."""
    text = size_text(size)
    assert not re.match(r"0\.0|102[4-9]\.", text)
    assert abs(parse_size(text) - size) <= size * 0.05
