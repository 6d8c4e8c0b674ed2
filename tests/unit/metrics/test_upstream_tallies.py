"""Upstream hosts in numbers: what they answered, and how they do."""

from entrepot.metrics import upstream_families as families
from entrepot.metrics.family import Family, Value
from entrepot.metrics.upstream_tallies import UpstreamsNow, UpstreamTallies
from entrepot.protocol.identifiers import Origin
from entrepot.upstream.host_outcomes import MOST_HOSTS, HostOutcomes
from entrepot.upstream.rate_limits import RateLimit

HUB = Origin.make("https", "registry-1.docker.io", 443)
CDN = Origin.make("https", "cdn.example", 443)
NAME = "https://registry-1.docker.io"


def observed() -> tuple[UpstreamTallies, HostOutcomes]:
    """What the HTTP client tells goes to both."""
    tallies, outcomes = UpstreamTallies(), HostOutcomes(lambda: 5.0)
    outcomes.also = tallies
    return tallies, outcomes


def found(
    tallies: UpstreamTallies,
    outcomes: HostOutcomes,
    breakers: dict[Origin, str] | None = None,
    limits: dict[Origin, RateLimit] | None = None,
) -> dict[Family, dict[tuple[str, ...], Value]]:
    now = UpstreamsNow(outcomes.states(), breakers or {}, limits or {})
    return {family: dict(children) for family, children in tallies.samples(now)}


def test_answers_and_failures_are_counted() -> None:
    """By host: an answer whatever its status, and what was no answer."""
    tallies, outcomes = observed()
    for status in (200, 200, 429):
        outcomes.answered(HUB, status, 0.02)
    outcomes.failed(CDN, "it broke off")
    limits = {HUB: RateLimit(100, 7, None, None, 5.0)}
    values = found(tallies, outcomes, {CDN: "down"}, limits)
    assert values[families.ANSWERS] == {(NAME, "200"): 2, (NAME, "429"): 1}
    assert values[families.FAILURES] == {("https://cdn.example",): 1}
    assert values[families.UP] == {(NAME,): False, ("https://cdn.example",): False}
    assert values[families.BREAKER_OPEN] == {(NAME,): False, ("https://cdn.example",): True}
    assert values[families.ASKED_AT] == {(NAME,): 5.0, ("https://cdn.example",): 5.0}
    assert values[families.HOSTS] == {
        **{(state,): 0 for state in ("ok", "failing", "slow", "resting")},
        ("limited",): 1,
        ("down",): 1,
    }
    assert values[families.LIMIT] == {(NAME,): 100}
    assert values[families.REMAINING] == {(NAME,): 7}
    assert values[families.WINDOW] == {}


def test_hosts_beyond_the_first_200_are_others() -> None:
    """Their answers are counted together; of how they do there is only how many."""
    tallies, outcomes = observed()
    for number in range(MOST_HOSTS + 50):
        outcomes.answered(Origin.make("https", f"h{number}.example", 443), 200, 0.02)
    values = found(tallies, outcomes)
    assert len(values[families.ANSWERS]) == MOST_HOSTS + 1
    assert values[families.ANSWERS]["others", "200"] == 50
    assert len(values[families.UP]) == MOST_HOSTS - 50, "of those known, with a label of their own"
    assert values[families.HOSTS]["ok",] == MOST_HOSTS
