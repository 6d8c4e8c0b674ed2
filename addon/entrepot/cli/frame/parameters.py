"""The parameters of a command for typer: its own, how to print, and the settings that it takes.

The settings come from the table of options, where each stands once for every place in which it can
be said. Their values are read there as well: typer takes them as texts.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from entrepot.cli.frame.definition import JSON, Definition
from entrepot.config.load import Given, load_config
from entrepot.config.options import OPTIONS, Option
from entrepot.config.settings import Config

_SUPPLIED = ("config", "given", "form")
"""The parameters that a command has from here."""
ALL = tuple(option.name for option in OPTIONS)
"""The settings of a command that runs the proxy."""
FROM_SETTING = "setting_"
"""What the names of parameters begin with that are settings."""
_BY_NAME = {option.name: option for option in OPTIONS}
_KINDS: dict[str, tuple[Any, Any]] = {
    "str": (str | None, None),
    "repeatable": (list[str] | None, None),
    "flag": (bool, False),
}
"""What typer is to read, and what it says where nothing is given."""


def function_for_typer(definition: Definition) -> Callable[..., None]:
    """A function whose parameters typer reads, which then runs the command."""
    wanted = inspect.signature(definition.run, eval_str=True).parameters

    def run(**values: Any) -> None:
        given: dict[str, Any] = {}
        for name in definition.settings:
            if value := values.pop(_parameter_of(name)):
                given[name] = value
        supplied: dict[str, Callable[[], object]] = {
            "form": lambda: JSON if values.pop("as_json", False) else values.pop("form", JSON),
            "given": lambda: given,
            "config": lambda: settings(given),
        }
        own = {name: supply() for name, supply in supplied.items() if name in wanted}
        if status := definition.run(**{**values, **own}):
            raise typer.Exit(status)

    parameters = (*_own(wanted.values()), *_forms(definition), *_settings(definition))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def settings(given: Given) -> Config:
    """The settings in force, by what the command line says of them. Raises ConfigError."""
    return load_config(given, os.environ, Path.home(), os.geteuid() == 0)


def _own(parameters: Iterable[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    for parameter in parameters:
        if parameter.name not in _SUPPLIED:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _forms(definition: Definition) -> Iterator[inspect.Parameter]:
    forms = definition.forms
    if len(forms) > 1:
        option = typer.Option(
            "-o", "--output", metavar="|".join(forms), help="how to print it", show_default=True
        )
        yield _keyword("form", Annotated[_one_of(forms), option], forms[0])
    if forms:
        flag = typer.Option("--json", help=f"the same as -o {JSON}")
        yield _keyword("as_json", Annotated[bool, flag], default=False)


def _one_of(words: tuple[str, ...]) -> Any:
    return Literal.__getitem__(words)


def _settings(definition: Definition) -> Iterator[inspect.Parameter]:
    for name in definition.settings:
        option = _BY_NAME[name]
        annotation, default = _KINDS[option.kind]
        told = typer.Option(option.flag, metavar=option.metavar or None, help=_help(option))
        yield _keyword(_parameter_of(name), Annotated[annotation, told], default)


def _help(option: Option) -> str:
    return f"{option.help}; repeatable" if option.kind == "repeatable" else option.help


def _parameter_of(setting: str) -> str:
    """Its name among a command's own parameters, which may have one of the setting's name."""
    return FROM_SETTING + setting


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
