"""``entrepot ca create``: a new authority, which clients have to be told to trust."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from entrepot.cli.data_owner import become_owner
from entrepot.cli.frame.definition import FOLDER, command
from entrepot.config.settings import Config
from entrepot_ca import create as create_authority
from entrepot_ca import describe


@command(
    settings=(*FOLDER, "permit"),
    details="The first start of the proxy makes one, too; this is for an authority that signs"
    " only for some domains, or in the place of the one there is.",
    examples=(
        ("entrepot ca create --permit example.com", "sign for example.com and below only"),
        ("entrepot ca create --force", "replace the authority, keeping the old file beside"),
    ),
)
def create(
    config: Config,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="replace the one there is, keeping it beside")
    ] = False,
) -> None:
    """Make it, and print it. Raises ``FileExistsError`` where there is one, unless ``force``."""
    become_owner(config.data)
    now = datetime.now(UTC)
    authority = create_authority(config.data / "ca", permit=config.permit, now=now, force=force)
    print(describe(authority, now))
