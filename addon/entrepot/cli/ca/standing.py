"""How it stands with the authority, for commands: as the running proxy says, else as the folder."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entrepot.app.authority_in_use import Standing
from entrepot.app.clients_file import CLIENTS_NAME, read_clients
from entrepot.control.client import connected
from entrepot.upstream.discovery.authority_clients import AuthorityClients
from entrepot_ca import Rotation, load

_MOST_NAMED = 20


def standing(data: Path) -> Standing:
    """What is in the data folder. Raises ``AuthorityError``."""
    rotation = Rotation.read(data / "ca")
    authority = load(data / "ca") if rotation is None else rotation.in_use
    return Standing(authority, rotation)


def described(data: Path) -> tuple[dict[str, Any], bool]:
    """How it stands, in the terms of JSON; and whether a running proxy said so.

    A running proxy looks into the folder first: so it takes up at once what a command has done.
    """
    with connected(data) as ask:
        answer = None if ask is None else ask({"do": "authority"})
    if answer is not None and answer["ok"]:
        told: dict[str, Any] = answer["authority"]
        return told, True
    clients = AuthorityClients()
    clients.restore(read_clients(data / CLIENTS_NAME))
    return standing(data).described(clients, time.time()), False


def print_clients(told: dict[str, Any], *, runs: bool) -> None:
    """Say which clients may not be ready, to people."""
    rotation = told["rotation"] or {"clients": 0}
    if not rotation["clients"]:
        print("clients:      none seen lately")
        return
    print(
        f"clients:      {rotation['clients']} seen lately, {rotation['waiting']} of them have not "
        "fetched the successor since it was announced"
    )
    for one in rotation["waiting_clients"][:_MOST_NAMED]:
        print(f"              {one['client']}, last seen {one['seen']}")
    if rotation["waiting"] > _MOST_NAMED:
        print(f"              and {rotation['waiting'] - _MOST_NAMED} more")
    if not runs:
        print("the proxy does not run: that is as of when it last did", file=sys.stderr)


def date_text(time: datetime) -> str:
    """A date as people read it."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
