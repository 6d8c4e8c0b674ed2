"""``entrepot ca create``: a new authority, which clients have to be told to trust."""

from datetime import UTC, datetime

from entrepot.config.settings import Config
from entrepot_ca import create, describe


def run(config: Config, *, force: bool) -> None:
    """Make it, and print it. Raises ``FileExistsError`` where there is one, unless ``force``."""
    now = datetime.now(UTC)
    authority = create(config.data / "ca", permit=config.permit, now=now, force=force)
    print(describe(authority, now))
