"""The whole configuration: our own, and below it a `config.yml` of another program's."""

from collections.abc import Mapping
from pathlib import Path

from entrepot.config.settings import Config, Given


def load_config(given: Given, environ: Mapping[str, str], home: Path, root: bool) -> Config:  # noqa: FBT001
    """Merge all that says something: as Config.load, and `registry_config` below it."""
    config = Config.load(given, environ, home, root)
    if config.registry_config is None:
        return config
    from entrepot.config.distribution_config import read_file  # noqa: PLC0415 with it comes a parser of YAML

    return Config.load(given, environ, home, root, read_file(config.registry_config, environ))
