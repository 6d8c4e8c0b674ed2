"""What upstreams say of their rate limits, as Docker Hub does with every manifest (``quirks``)."""

import re
from dataclasses import dataclass

from entrepot.bounded_map import BoundedMap
from entrepot.protocol import quirks
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, field_values

_FIGURE = re.compile(r"([0-9]{1,12})(?:;w=([0-9]{1,9}))?", re.ASCII)
_SOURCE = re.compile(r"[0-9A-Za-z.:-]{1,64}", re.ASCII)
_SAID_SECONDS = 60.0
_MOST_HOSTS = 1000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The last figures of a host: pulls in a window of seconds; None where it did not say."""

    limit: int | None
    remaining: int | None
    window: int | None
    source: str | None
    at: float
    """When it said so, by the time of day."""

    def known(self) -> dict[str, object]:
        """The figures that it gave, for a log line."""
        window = f"{self.window}s" if self.window is not None else None
        said = {"limit": self.limit, "window": window, "source": self.source}
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def read(cls, headers: Fields, at: float) -> "RateLimit | None":
        """Read an answer's header; None where it says nothing of it."""
        limit, window = _figure(headers, quirks.RATE_LIMIT)
        remaining, other = _figure(headers, quirks.RATE_LIMIT_REMAINING)
        if limit is None and remaining is None:
            return None
        source = next(iter(field_values(headers, quirks.RATE_LIMIT_SOURCE)), "")
        known = source if _SOURCE.fullmatch(source) else None
        return cls(limit, remaining, window if window is not None else other, known, at)


class RateLimits:
    """The last figures by host."""

    def __init__(self) -> None:
        self.last: BoundedMap[Origin, RateLimit] = BoundedMap(_MOST_HOSTS)
        self._said: dict[Origin, float] = {}

    def note(self, origin: Origin, headers: Fields, at: float) -> None:
        """Take in an answer's header."""
        found = RateLimit.read(headers, at)
        if found is not None:
            self.last.put(origin, found)

    def is_news(self, origin: Origin, now: float) -> bool:
        """Whether nobody was told within a minute that this host's limit is reached."""
        news = self._said.get(origin, float("-inf")) + _SAID_SECONDS <= now
        if news:
            self._said = {host: at for host, at in self._said.items() if at + _SAID_SECONDS > now}
            self._said[origin] = now
        return news


def account_hint(origin: Origin) -> str:
    """What an administrator can do about a limit: an account of one's own has a higher one."""
    name = quirks.configured_name(origin)
    return (
        f"set username= and password_file= of an account below [registry.'{name}'] "
        "in the file of --config"
    )


def _figure(headers: Fields, name: str) -> tuple[int | None, int | None]:
    """A number and its window, where the field has them in the form above."""
    found = _FIGURE.fullmatch(next(iter(field_values(headers, name)), ""))
    if found is None:
        return None, None
    return int(found[1]), int(found[2]) if found[2] else None
