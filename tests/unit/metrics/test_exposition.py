"""The text of the page: what changed is written anew, and the rest is what it was."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.metrics.exposition import Exposition
from entrepot.metrics.family import OPEN_METRICS, Distribution, Family, Kind, Samples

COUNTER = Family("entrepot_a_total", Kind.COUNTER, "Things: a, b.", ("kind", "host"))
GAUGE = Family("entrepot_b", Kind.GAUGE, "One thing.")
HISTOGRAM = Family("entrepot_c_seconds", Kind.HISTOGRAM, "Times.", ("kind",), (0.1, 1))
FAMILIES = (COUNTER, GAUGE, HISTOGRAM)


def ours(text: bytes) -> str:
    """The page without what the library says of the process."""
    lines = [line for line in text.decode().split("\n") if "process_" not in line]
    return "\n".join(lines)


def test_a_page() -> None:
    """In the order of the families, with all that a text may have in it."""
    samples: list[Samples] = [
        (GAUGE, [((), True)]),
        (HISTOGRAM, [(("x",), Distribution((1, 0, 2), 5.5))]),
        (COUNTER, [(("a", 'quote" and \\ and\n a\rline'), 3), (("b", "é"), 2**20)]),
    ]
    media_type, text = Exposition(FAMILIES).page(samples, "text/html")
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert ours(text).split("\n") == [
        "# HELP entrepot_a_total Things: a, b.",
        "# TYPE entrepot_a_total counter",
        'entrepot_a_total{host="quote\\" and \\\\ and\\n a\rline",kind="a"} 3.0',
        'entrepot_a_total{host="é",kind="b"} 1.048576e+06',
        "# HELP entrepot_b One thing.",
        "# TYPE entrepot_b gauge",
        "entrepot_b 1.0",
        "# HELP entrepot_c_seconds Times.",
        "# TYPE entrepot_c_seconds histogram",
        'entrepot_c_seconds_bucket{kind="x",le="0.1"} 1.0',
        'entrepot_c_seconds_bucket{kind="x",le="1.0"} 1.0',
        'entrepot_c_seconds_bucket{kind="x",le="+Inf"} 3.0',
        'entrepot_c_seconds_count{kind="x"} 3.0',
        'entrepot_c_seconds_sum{kind="x"} 5.5',
        "",
    ]


def test_what_there_is_none_of_is_left_out() -> None:
    """No line, no head: as where the store does not answer."""
    exposition = Exposition(FAMILIES)
    assert "entrepot_b 7.0" in ours(exposition.page([(GAUGE, [((), 7)])], "")[1])
    assert ours(exposition.page([(GAUGE, [])], "")[1]) == ""


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6)


@given(st.lists(st.tuples(COUNTS, COUNTS, st.sampled_from(["", OPEN_METRICS])), max_size=6))
def test_the_page_is_that_of_who_writes_all_anew(
    pages: list[tuple[dict[str, int], dict[str, int], str]],
) -> None:
    """Whatever comes, changes and goes from one scrape to the next, in either format."""
    exposition = Exposition(FAMILIES)
    for counts, times, accept in pages:
        samples: list[Samples] = [
            (COUNTER, [((name, "h"), value) for name, value in counts.items()]),
            (HISTOGRAM, [((name,), Distribution((n, 1, 0), n)) for name, n in times.items()]),
        ]
        ((media_type, text), (other_type, other)) = (
            writer.page(samples, accept) for writer in (exposition, Exposition(FAMILIES))
        )
        assert (media_type, ours(text)) == (other_type, ours(other))
        assert text.endswith(b"# EOF\n") == bool(accept)
        assert text.count(b"# EOF") == bool(accept)
