"""``entrepot ca show``: the local authority's path, fingerprint, expiry and constraints."""

from datetime import UTC, datetime

from entrepot.config.settings import Config
from entrepot_ca import describe, load


def run(config: Config) -> None:
    """Print it. Raises ``AuthorityError`` where there is none, or none that can be read."""
    print(describe(load(config.data / "ca"), datetime.now(UTC)))
