"""Settings as an administrator would write them, and never a secret of one."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.mirror_spec import Mirror, name_of
from entrepot.config.options import Option
from entrepot.config.units import parse_duration, parse_duration_or_never, parse_size, size_text

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def setting_text(option: Option, value: Any) -> str:
    """What an option is set to; empty where it is not."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, UpstreamProxy):
        return value.url
    if option.secret:
        return "(set)"
    if option.parser is parse_size:
        return size_text(value)
    if option.parser in (parse_duration, parse_duration_or_never):
        return duration_text(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Mirror) and value.registry is not None:
        return f"{value}={name_of(value.registry)}"
    if isinstance(value, Resolve):
        return f"{value.host}:{value.port}:{value.address}:{value.target_port}"
    return str(value.value if isinstance(value, Enum) else value)


def duration_text(seconds: float) -> str:
    """A duration as an option takes it: `30d`, `5min`, `0` for never."""
    for span, unit in _SPANS:
        if seconds >= span and seconds % span == 0:
            return f"{seconds // span:g}{unit}"
    return f"{seconds:g}s" if seconds else "0"
