"""What a command is: a function, the settings and forms that it takes, and examples for its help.

``@command(…)`` makes a command of a function. Its parameters are typer's, but for three names that
are given to it: ``config``, the settings as they are in force; ``given``, those of the command
line alone; ``form``, how to print. It returns its exit code, or None for 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Run: TypeAlias = Callable[..., int | None]

FOLDER = ("data", "config", "registry_config")
"""The settings by which a command finds the data folder."""
JSON = "json"
TABLE_FORMS = ("table", JSON, "yaml")
"""Forms of ``-o`` of a command that prints a table or a few lines."""
WIDE_FORMS = ("table", "wide", JSON, "yaml")
"""The same, where there is more to tell than most terminals are wide."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A command but for its name.

    ``settings`` are names of ``OPTIONS``; ``forms`` are those of ``-o``, the first by default;
    ``examples`` are lines to type, each with what it does.
    """

    run: Run
    settings: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    details: str = ""
    examples: tuple[tuple[str, str], ...] = ()


def command(
    *,
    settings: tuple[str, ...] = (),
    forms: tuple[str, ...] = (),
    details: str = "",
    examples: tuple[tuple[str, str], ...] = (),
) -> Callable[[Run], Definition]:
    """Make a command of the function below."""

    def define(run: Run) -> Definition:
        return Definition(run, settings, forms, details, examples)

    return define
