"""What is asked of the records by the text of a form or a query: a filter, or why it is none."""

from collections.abc import Mapping

from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter

_LONGEST = 300


def filter_of(query: Mapping[str, str]) -> Filter:
    """What is wanted; what is empty or means nothing is left out."""
    outcome = query.get("outcome", "")
    return Filter(
        client=_text(query, "client"),
        registry=_text(query, "registry"),
        repository=_text(query, "repository"),
        outcome=Outcome(outcome) if outcome in {one.value for one in Outcome} else None,
    )


def number_of(query: Mapping[str, str], name: str, otherwise: int, most: int) -> int:
    """A number of a query, within bounds."""
    text = query.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        return otherwise
    return min(int(text), most)


def time_of(query: Mapping[str, str], name: str) -> float | None:
    """A time of a query, in seconds since 1970; None where there is none."""
    text = query.get(name, "")
    whole, _, rest = text.partition(".")
    if whole.isascii() and whole.isdecimal() and len(whole) < 12 and (not rest or rest.isdecimal()):
        return float(text)
    return None


def _text(query: Mapping[str, str], name: str) -> str | None:
    return query.get(name, "").strip()[:_LONGEST] or None
