"""Numbers, sizes and times as the page writes them; filters of its templates."""

from datetime import UTC, datetime

from markupsafe import Markup, escape

from entrepot.config.units import size_text

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_THIN = "\u202f"
_SHORT = 12
NOTHING = "\u2013"
"""What stands where there is no value."""


def number(value: float) -> str:
    """A count, its thousands apart: `12 345`."""
    return f"{round(value):,}".replace(",", _THIN)


def size(value: float) -> str:
    """Bytes: `39.2 GiB`."""
    figure, unit = size_parts(value)
    return f"{figure} {unit}"


def size_parts(value: float) -> tuple[str, str]:
    """Bytes, as a figure and its unit, which a page may set apart."""
    text = size_text(int(value))
    figure = text.rstrip("BKMGTi")
    return figure, text[len(figure) :]


def percent(part: float, whole: float) -> str:
    """A share: `94 %`; with a decimal near both ends."""
    if whole <= 0:
        return NOTHING
    share = 100 * part / whole
    digits = 1 if 0 < share < 1 or 99 <= share < 100 else 0
    return f"{share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """A time in its largest unit: `3 d`, `5 min`."""
    if seconds is None:
        return NOTHING
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "now"


def milliseconds(value: float) -> str:
    """A time that is short: `12 ms`, `3.4 s`."""
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def seconds_of(text: str) -> float:
    """The time of day of a text after ISO 8601, as ``control.documents`` writes it."""
    return datetime.fromisoformat(text).timestamp()


def ago(at: float | str | None, now: float) -> Markup:
    """How long ago something was, with the whole time for who points at it."""
    if at is None:
        return escape(NOTHING)
    when = seconds_of(at) if isinstance(at, str) else at
    moment = datetime.fromtimestamp(when, UTC)
    passed = now - when
    text = "just now" if passed < 2 else f"{duration(passed)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M:%S} UTC", text
    )


def clock_time(at: float) -> Markup:
    """A time of day: `14:03:59`."""
    moment = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        f"{moment:%H:%M:%S}",
    )


def date(at: float) -> str:
    """A day: `14 March 2036`."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def date_of(text: str) -> str:
    """The day of a text after ISO 8601."""
    return date(seconds_of(text))


def short_digest(text: str) -> str:
    """The beginning of a digest, as docker shows it."""
    return text.rpartition(":")[2][:_SHORT]


def short_reference(text: str) -> str:
    """A tag, or the beginning of a digest."""
    return f"@{short_digest(text)}" if ":" in text else f":{text}"


def breakable(text: str) -> Markup:
    """A long name that may be broken behind its slashes."""
    return Markup("/<wbr>").join(escape(part) for part in text.split("/"))
