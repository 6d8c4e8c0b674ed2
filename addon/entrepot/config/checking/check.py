"""A check of the configuration: every problem with its place, and each setting with its origin.

A start ends with the first problem (``config.load``); here each option is read by itself, so that
all are found. What is in force is what the loading says, which this asks in the end.
"""

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrepot.config.checking.setting_texts import setting_text
from entrepot.config.checking.toml_lines import line_of_fault, line_of_key, line_of_table
from entrepot.config.load import Given, load_config
from entrepot.config.options import OPTIONS, Option, nearest
from entrepot.config.registry_tables import Surroundings, is_exposed, read_registries
from entrepot.config.settings import Config, ConfigError

COMMAND_LINE = "the command line"
DEFAULT = "the default"
_BY_NAME = {option.name: option for option in OPTIONS}
_PROXY_VARIABLES = {
    "upstream_proxy": ("HTTPS_PROXY", "https_proxy"),
    "no_proxy": ("NO_PROXY", "no_proxy"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps a start from going well: where it stands, and what is wrong, without secrets."""

    where: str
    line: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class InForce:
    """A setting, as an administrator would write it, and who says so."""

    name: str
    value: str
    origin: str
    line: int | None = None


@dataclass(slots=True)
class Checked:
    """All that was found; ``config`` is None where a start would end with a problem."""

    problems: list[Problem] = field(default_factory=list)
    settings: tuple[InForce, ...] = ()
    config: Config | None = None


def check_config(given: Given, environ: Mapping[str, str], home: Path, *, root: bool) -> Checked:
    """Check what ``entrepot serve`` would load with the same words, environment and files."""
    checked = Checked()
    origins: dict[str, tuple[str, int | None]] = {}
    _check_values(given, COMMAND_LINE, "", OPTIONS, checked, origins)
    file = given.get("config")
    if isinstance(file, str) and "config" in origins:
        _check_file(_expanded(file, home), environ, home, checked, origins)
    if data := environ.get("ENTREPOT_DATA"):
        before = dict(origins)
        _check_values({"data": data}, "ENTREPOT_DATA", "", OPTIONS, checked, origins)
        if "data" in given:
            origins["data"] = before["data"]
    checked.problems.sort(key=lambda one: (one.where != COMMAND_LINE, one.where, one.line or 0))
    try:
        checked.config = load_config(given, environ, home, root)
    except ConfigError as error:
        if not checked.problems:
            checked.problems.append(_problem_of(str(error)))
        return checked
    checked.settings = tuple(_in_force(checked.config, environ, origins))
    return checked


def _check_file(
    file: Path,
    environ: Mapping[str, str],
    home: Path,
    checked: Checked,
    origins: dict[str, tuple[str, int | None]],
) -> None:
    """Each key and table of the TOML file; what the command line says already counts before it."""
    where = str(file)
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            text = opened.read().decode()
        content = tomllib.loads(text)
    except OSError as error:
        checked.problems.append(Problem(where, None, f"cannot be read: {error.strerror}"))
        return
    except ValueError as error:  # no UTF-8, or no TOML
        checked.problems.append(Problem(where, line_of_fault(str(error)), str(error)))
        return
    registry = content.get("registry")
    if isinstance(registry, Mapping):
        del content["registry"]
        _check_tables(registry, Surroundings(environ, home, exposed), where, text, checked)
    in_file = [option for option in OPTIONS if option.in_file]
    before = dict(origins)
    _check_values(content, where, text, in_file, checked, origins)
    origins |= before


def _check_tables(
    tables: Mapping[str, object], around: Surroundings, where: str, text: str, checked: Checked
) -> None:
    for key, table in tables.items():
        try:
            read_registries({key: table}, around)
        except ValueError as error:
            line = line_of_table(text, "registry", key)
            checked.problems.append(Problem(where, line, f"registry: {error}"))


def _check_values(
    source: Mapping[str, Any],
    where: str,
    text: str,
    options: Collection[Option],
    checked: Checked,
    origins: dict[str, tuple[str, int | None]],
) -> None:
    known = {option.name: option for option in options}
    for name, value in source.items():
        line = line_of_key(text, name)
        if name not in known:
            reason = f"unknown option {name!r}, {nearest(name, known)}"
            checked.problems.append(Problem(where, line, reason))
            continue
        try:
            known[name].read(value)
        except ValueError as error:
            checked.problems.append(Problem(where, line, f"{name}: {error}"))
        else:
            origins[name] = (where, line)


def _in_force(
    config: Config, environ: Mapping[str, str], origins: Mapping[str, tuple[str, int | None]]
) -> Iterator[InForce]:
    """Every setting, in the order of the options."""
    for name, option in _BY_NAME.items():
        if name == "config":
            continue
        value = getattr(config, name)
        origin, line = origins.get(name) or (_unsaid(config, name, value, environ), None)
        yield InForce(name, setting_text(option, value), origin, line)


def _unsaid(config: Config, name: str, value: object, environ: Mapping[str, str]) -> str:
    """Who says a setting that neither the command line nor our file does."""
    if value == _default_of(name):
        return DEFAULT
    for variable in _PROXY_VARIABLES.get(name, ()):
        if environ.get(variable):
            return variable
    if name == "registry" and config.accounts:
        return "the registry tables"
    if name != "data" and config.registry_config is not None:
        return str(config.registry_config)
    return DEFAULT


def _default_of(name: str) -> object:
    found = Config.__dataclass_fields__[name].default
    return None if name == "data" else found


def _problem_of(message: str) -> Problem:
    """A problem that only all settings together have, or another program's file."""
    where, colon, reason = message.partition(": ")
    if colon and ("/" in where or "." in where):
        return Problem(where, None, reason)
    return Problem("the settings", None, message)


def _expanded(text: str, home: Path) -> Path:
    path = Path(text)
    return home.joinpath(*path.parts[1:]) if path.parts[:1] == ("~",) else path
