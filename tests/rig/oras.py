"""oras, the Python client of artifacts, as a process of its own."""

import sys
from pathlib import Path

from rig.command import Finished, Program
from rig.process import clean_environment
from rig.route import Route

_SCRIPT = """
import json, pathlib, sys
from oras.client import OrasClient

verb, target, *rest = sys.argv[1:]
client = OrasClient()
if verb == "push":
    pathlib.Path("config.json").write_text("{}")
    config = f"config.json:{rest[1]}"
    client.push(target=target, files=rest[:1], manifest_config=config)
elif verb == "pull":
    files = client.pull(target=target, outdir=rest[0])
    print(json.dumps([pathlib.Path(name).read_text() for name in files]))
else:
    print(json.dumps(client.get_tags(target)))
"""


class Oras:
    """Pushes and pulls artifacts, and lists tags."""

    def __init__(self, folder: Path, route: Route) -> None:
        environment = clean_environment(
            folder, REQUESTS_CA_BUNDLE=str(route.ca_file), **route.environment()
        )
        self.cli = Program(folder, [sys.executable, "-c", _SCRIPT], environment)

    def push(self, name: str, content: str, media_type: str, config_type: str) -> Finished:
        """Push a text under `HOST/REPOSITORY:TAG`, as an artifact of one layer."""
        (self.cli.folder / "file").write_text(content)
        return self.cli.run("push", name, f"file:{media_type}", config_type)

    def pull(self, name: str) -> Finished:
        """Pull an artifact; prints the texts of its files as JSON."""
        return self.cli.run("pull", name, self.cli.folder / "pulled")

    def tags(self, name: str) -> Finished:
        """Print a repository's tags as JSON."""
        return self.cli.run("tags", name)
