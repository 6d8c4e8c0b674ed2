"""Values of a command's own options: durations, which are read as those of the settings are."""

from collections.abc import Callable
from typing import TypeVar

import typer

T = TypeVar("T")


def parsed(parser: Callable[[str], T], text: str | None, option: str) -> T | None:
    """Read an option's text; what is wrong with it is a fault of the command line."""
    if text is None:
        return None
    try:
        return parser(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
