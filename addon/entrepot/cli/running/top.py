"""``entrepot top``: what goes on, live on a terminal until q or ^C; else once."""

import time
from typing import Annotated

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.running.recent import Recent
from entrepot.cli.running.records import records_of
from entrepot.cli.running.status import live_status
from entrepot.config.settings import Config
from entrepot.control.documents import Document

_BUSIEST = 20
_SHOWN = (
    "version",
    "started",
    "status",
    "reasons",
    "usage",
    "downloads",
    "untrusting_clients",
)
"""What it takes of the status."""


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="Downloads in flight with their progress, requests and bytes a second over the last"
    " minute, the images and clients with most of them. q ends it. Where standard output is no"
    " terminal, it prints once. Images and clients need records (--record).",
    examples=(
        ("entrepot top", "watch"),
        ("entrepot top --delay 5", "a calmer one"),
        ("entrepot top --json | jq '.downloads | length'", "once, for a program"),
    ),
)
def top(
    config: Config,
    form: str,
    *,
    delay: Annotated[
        float, typer.Option("--delay", "-d", metavar="SECONDS", min=0.2, help="from look to look")
    ] = 1.0,
) -> None:
    """Show it. Raises ``StartError`` where no proxy runs."""
    from entrepot.cli.running.top_screen import print_once, watch  # noqa: PLC0415 rich

    with records_of(config.data) as reader:
        recent = Recent(reader, time.time)

        def look() -> Document:
            told = live_status(config)
            if told is None:
                raise StartError(f"no proxy runs on {str(config.data)!r}")
            told = {name: told[name] for name in _SHOWN}
            return {**told, "last_minute": recent.look(_BUSIEST).document()}

        if form != "table":
            print_document(look(), form)
        elif not watch(look, delay):
            print_once(look())
