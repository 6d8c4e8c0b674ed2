"""Counters and histograms, and labels that stay few."""

from entrepot.metrics.family import Distribution, Family, Kind
from entrepot.metrics.tallies import FirstNames, Tallies, observe

COUNTER = Family("entrepot_things_total", Kind.COUNTER, "Things.", ("kind",))
HISTOGRAM = Family("entrepot_thing_seconds", Kind.HISTOGRAM, "Times.", (), (0.1, 1))


def test_what_is_counted_is_shown() -> None:
    """A child that was named counts from 0; a bound belongs to its bucket."""
    tallies = Tallies()
    tallies.cell(COUNTER, "none")
    for _ in range(3):
        tallies.cell(COUNTER, "some")[0] += 1
    for value in (0.1, 0.5, 2, 3):
        observe(HISTOGRAM, tallies.cell(HISTOGRAM), value)
    assert {family: list(children) for family, children in tallies.samples()} == {
        COUNTER: [(("none",), 0), (("some",), 3)],
        HISTOGRAM: [((), Distribution((1, 1, 2), 5.6))],
    }


def test_the_first_names_have_labels() -> None:
    """Who names ever new ones makes none."""
    names = FirstNames(2)
    assert [names.label(name) for name in "abcab"] == ["a", "b", "others", "a", "b"]
