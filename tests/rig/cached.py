"""The commands about a proxy's folder, and images pulled as clients do."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rig.client import Client
from rig.images import Image
from rig.json_schema import problems
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot

_DOCS = Path(__file__).parents[2] / "docs"


def command(
    entrepot: Entrepot, *words: str, stdin: str = "", env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run one of the commands about the proxy's folder."""
    first, *rest = words
    return subprocess.run(
        [PYTHON, "-m", "entrepot.cli", first, "--data", str(entrepot.data), *rest],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=entrepot.folder,
        env=clean_environment(entrepot.folder, **(env or {})),
    )


def told(
    entrepot: Entrepot,
    *words: str,
    status: int = 0,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a command says as JSON, which is as its schema has it."""
    finished = command(entrepot, *words, "--json", env=env)
    assert finished.returncode == status, finished
    document: dict[str, Any] = json.loads(finished.stdout)
    schema = _DOCS / f"{words[0]}.schema.json"
    if schema.exists():
        assert list(problems(document, json.loads(schema.read_text()))) == []
    return document


def pull(client: Client, name: str, image: Image) -> list[str]:
    """Pull an image as a client does; what the cache did for each of its blobs."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    base = f"https://{host}/v2/{repository}"
    assert client.manifest(f"{base}/manifests/{tag}").body == image.root.body
    for manifest in image.children:
        assert client.manifest(f"{base}/manifests/{manifest.digest}").body == manifest.body
    statuses = []
    for blob in image.blobs:
        answer = client.get(f"{base}/blobs/{blob.digest}")
        assert answer.body == blob.read()
        statuses.append(answer.cache_status)
    return statuses
