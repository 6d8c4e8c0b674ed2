"""Numbers, sizes and times as a page writes them."""

import pytest

from entrepot.admin.site import words


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, words.NOTHING),
        (1, 2, "50 %"),
        (999, 1000, "99.9 %"),
        (1, 500, "0.2 %"),
        (5, 5, "100 %"),
        (0, 9, "0 %"),
    ],
)
def test_shares(part: int, whole: int, text: str) -> None:
    """With a decimal where all or nothing is near, since that is what one looks for."""
    assert words.percent(part, whole) == text


def test_sizes_and_counts() -> None:
    """As the commands write them, with a blank before the unit."""
    assert words.size(42_090_000_000) == "39.2 GiB"
    assert words.size_parts(512) == ("512", "B")
    assert words.number(1234567) == "1\u202f234\u202f567"
    assert words.milliseconds(999) == "999 ms"
    assert words.milliseconds(3400) == "3.4 s"
    assert words.duration(7300) == "2 h"


def test_times_have_the_whole_in_their_title() -> None:
    """From seconds, or from what the API says."""
    at = words.seconds_of("2026-11-28T10:00:00Z")
    shown = words.ago("2026-11-28T10:00:00Z", at + 120)
    assert ">2 min ago</time>" in shown
    assert 'title="2026-11-28 10:00:00 UTC"' in shown
    assert words.ago(None, at) == words.NOTHING
    assert ">10:00:00</time>" in words.clock_time(at)
    assert words.date(at) == "28 November 2026"


def test_names_of_others_are_escaped() -> None:
    """A name may be broken behind its slashes, and is text all the same."""
    assert words.breakable("a/<b>") == "a/<wbr>&lt;b&gt;"
    assert words.short_reference("sha256:" + "ab" * 32) == "@" + "ab" * 6
    assert words.short_reference("1.2") == ":1.2"
