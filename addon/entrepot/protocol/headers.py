"""The header fields that the cache must understand, each as a value (RFC 9110).

Every parser runs in time linear in its input: patterns that repeat are possessive (`++`, `*+`),
and numbers are bounded at 19 digits, which every 63-bit size fits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

_CONTENT_RANGE = re.compile(
    r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:([0-9]{1,19})|\*)", re.IGNORECASE | re.ASCII
)

_TOKEN_CHARACTERS = r"!#$%&'*+.^_`|~0-9A-Za-z-"  # noqa: S105, RFC 9110 5.6.2
_QUOTED_CONTENT = r'(?:[^"\\]|\\.)*+'
# A quoted-string, or one left open, which takes all that follows with it.
_QUOTED = rf'"{_QUOTED_CONTENT}(?:"|\\?\Z)'
_QUOTED_STRING = re.compile(_QUOTED, re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_MEDIA_RANGE = re.compile(rf"[{_TOKEN_CHARACTERS}/]+")
_UNACCEPTABLE = re.compile(r"q=0(?:\.0{0,3})?", re.IGNORECASE | re.ASCII)

_WORD_OR_JUNK = re.compile(
    rf'[ \t,]*+(?:([{_TOKEN_CHARACTERS}]++)|(?:[^",]|{_QUOTED})++)', re.DOTALL
)
_PARAMETER_VALUE = re.compile(
    rf'[ \t]*+=[ \t]*+(?:"({_QUOTED_CONTENT})"[^\s,"]*+|([^\s,"]++))?+', re.DOTALL
)
_TOKEN68 = re.compile(r" ++[A-Za-z0-9._~+/-]++=*+[ \t]*+(?=,|\Z)")

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*+")')


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes a 206 carries, both ends included; `size` is None where the sender left it out.

    >>> ContentRange.parse("bytes 0-99/100")
    ContentRange(first=0, last=99, size=100)
    """

    first: int
    last: int
    size: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or (self.size is not None and self.last >= self.size):
            raise ValueError(f"expected a range inside its representation, got {str(self)!r}")

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read the Content-Range of a 206; ValueError for all else, a 416's `bytes */N` too."""
        match = _CONTENT_RANGE.fullmatch(value.strip(" \t"))
        if match is None:
            raise ValueError(f"expected bytes FIRST-LAST/SIZE or bytes FIRST-LAST/*, got {value!r}")
        first, last, size = match.groups()
        return cls(int(first), int(last), None if size is None else int(size))

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{'*' if self.size is None else self.size}"


def normalise_accept(values: Sequence[str]) -> str:
    """Return one spelling for all Accept lines that ask for the same media types.

    Order, repetition, case and parameters do not count; types with `q=0` are left out. `*/*` where
    nothing remains.
    """
    accepted = {
        media_range.lower()
        for value in values
        for element in _QUOTED_STRING.sub("", value).split(",")
        if (media_range := _acceptable(element))
    }
    return ",".join(sorted(accepted)) or "*/*"


def _acceptable(element: str) -> str | None:
    media_range, *parameters = (part.strip(" \t") for part in element.split(";"))
    if any(_UNACCEPTABLE.fullmatch(parameter) for parameter in parameters):
        return None
    return media_range if _MEDIA_RANGE.fullmatch(media_range) else None


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: scheme and parameter names in lower case, values as sent."""

    scheme: str
    params: Mapping[str, str]


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Read WWW-Authenticate lines (RFC 9110 11.6.1), several challenges to a line.

    A token68 is skipped, the first of repeated parameters counts, and what cannot be read is left
    out: this never raises.
    """
    return tuple(challenge for value in values for challenge in _read_challenges(value))


def _read_challenges(value: str) -> Iterator[Challenge]:
    scheme, params = None, dict[str, str]()
    position = 0
    while match := _WORD_OR_JUNK.match(value, position):
        position = match.end()
        if (word := match[1]) is None:
            continue
        if pair := _PARAMETER_VALUE.match(value, position):
            position = pair.end()
            if (content := _unquote(pair)) is not None:
                params.setdefault(word.lower(), content)
            continue
        if scheme is not None:
            yield Challenge(scheme, MappingProxyType(params))
        scheme, params = word.lower(), {}
        if token68 := _TOKEN68.match(value, position):
            position = token68.end()
    if scheme is not None:
        yield Challenge(scheme, MappingProxyType(params))


def _unquote(pair: re.Match[str]) -> str | None:
    quoted, bare = pair.groups()
    return bare if quoted is None else _ESCAPED.sub(r"\1", quoted)


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Whether If-None-Match names this entity tag, by weak comparison (RFC 9110 13.1.2)."""
    if if_none_match.strip(" \t") == "*":
        return True
    return etag.removeprefix("W/") in _ENTITY_TAG.findall(if_none_match)
