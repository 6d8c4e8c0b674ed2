"""The settings in force, as a table without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from entrepot.config.addresses import UpstreamProxy
from entrepot.config.checking.setting_texts import setting_text
from entrepot.config.options import OPTIONS, Option
from entrepot.config.settings import Config
from entrepot.config.units import size_text


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
    if option.secret and value is not None and not isinstance(value, UpstreamProxy):
        return "set"
    return setting_text(option, value)
