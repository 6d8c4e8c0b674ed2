"""The settings in force, as a table without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from entrepot.config.options import OPTIONS, Option
from entrepot.config.settings import Config
from entrepot.config.units import size_text

_SIZES = frozenset({"size", "record_size"})
_SECONDS = frozenset(
    {
        "scrub",
        "idle",
        "drain",
        "connect_timeout",
        "answer_timeout",
        "max_stale",
        "record_keep",
    }
)
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One option and what it is set to."""

    name: str
    flag: str
    help: str
    value: str
    """As an administrator would write it; empty where it is not set."""
    is_default: bool


def settings_table(config: Config, limit: int | None) -> list[Setting]:
    """Every option; ``limit`` is the size in force, where the option does not say one."""
    defaults = {field.name: field.default for field in fields(Config)}
    return [
        _setting(option, config, defaults, limit)
        for option in OPTIONS
        if hasattr(config, option.name)
    ]


def _setting(
    option: Option, config: Config, defaults: Mapping[str, Any], limit: int | None
) -> Setting:
    value, default = getattr(config, option.name), defaults.get(option.name)
    shown = _shown(option, value)
    if option.name == "size" and value is None and limit is not None:
        shown = size_text(limit)
    return Setting(option.name, option.flag, option.help, shown, value == default)


def _shown(option: Option, value: Any) -> str:
    if value is None or value == ():
        return ""
    if option.name == "upstream_proxy":
        return str(value.url)
    if option.secret:
        return "set"
    if option.name in _SIZES:
        return size_text(value)
    if option.name in _SECONDS:
        return duration_text(value)
    if isinstance(value, tuple):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(value)


def _text(value: Any) -> str:
    said = getattr(value, "value", value)  # of an enumeration
    if hasattr(value, "target_port"):
        return f"{value.host}:{value.port}:{value.address}:{value.target_port}"
    return str(said)


def duration_text(seconds: float) -> str:
    """Write a duration as an option takes it: ``30d``, ``5min``; 0 where it is none."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s" if seconds else "0"
