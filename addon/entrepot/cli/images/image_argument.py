"""Images as arguments of commands; a shell completes those that the running proxy holds.

Where none runs it completes nothing: to open the folder would take longer than a key.
"""

from contextlib import suppress
from typing import Annotated, Any, TypeAlias

import typer

from entrepot.cli.frame.parameters import FROM_SETTING, settings
from entrepot.config.settings import ConfigError
from entrepot.control.client import connected
from entrepot.protocol.quirks import HUB_LIBRARY, HUB_NAME

IMAGE = (
    "redis:7, HOST/NAME:TAG or HOST/NAME@DIGEST; without a tag the whole repository, and with a"
    " slash at its end all below it"
)
_MOST = 200
_SHORT = (f"{HUB_NAME}/{HUB_LIBRARY}/", f"{HUB_NAME}/")
"""What users leave out of a name."""


def cached_images(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names that begin so, as users say them or whole."""
    answer: dict[str, Any] = {}
    with suppress(OSError, ConfigError, ValueError):
        given = {
            name.removeprefix(FROM_SETTING): value
            for name, value in ctx.params.items()
            if name.startswith(FROM_SETTING) and value
        }
        with connected(settings(given).data) as ask:
            if ask is not None:
                text = incomplete.partition("@")[0]
                answer = ask({"do": "images", "filter": text, "limit": _MOST, "sort": "used"})
    names = [name for one in answer.get("images", ()) for name in one["names"]]
    said = [form for name in names for form in _forms(name)]
    return list(dict.fromkeys(name for name in said if name.startswith(incomplete)))


def _forms(name: str) -> list[str]:
    """How a name is said: the shortest first."""
    return [*(name.removeprefix(one) for one in _SHORT if name.startswith(one)), name]


Image: TypeAlias = Annotated[
    str, typer.Argument(metavar="IMAGE", help=IMAGE, autocompletion=cached_images)
]
Images: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="IMAGE...", help=IMAGE, autocompletion=cached_images)
]
