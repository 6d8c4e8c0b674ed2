"""``entrepot ca show``: the local authority's path, fingerprint, expiry and constraints."""

from datetime import UTC, datetime

from entrepot.cli.frame.definition import FOLDER, command
from entrepot.config.settings import Config
from entrepot_ca import describe, load


@command(settings=FOLDER)
def show(config: Config) -> None:
    """Print it. Raises ``AuthorityError`` where there is none, or none that can be read."""
    print(describe(load(config.data / "ca"), datetime.now(UTC)))
