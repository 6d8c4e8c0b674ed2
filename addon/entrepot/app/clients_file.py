"""The file in which a rotation's clients are kept: while one is under way, by a proxy that runs.

Commands read it where no proxy runs, so it imports little.
"""

import json
import os
from pathlib import Path
from typing import Any

from entrepot.upstream.discovery.authority_clients import Rows

CLIENTS_NAME = "authority-clients.json"


def read_clients(file: Path) -> Rows:
    """What was kept; nothing where that cannot be read: it is missed by nobody but people."""
    try:
        kept = json.loads(file.read_bytes())
        return {
            str(address): (float(seen), _time(fetched), _time(successor))
            for address, (seen, fetched, successor) in kept.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_clients(file: Path, rows: Rows) -> None:
    """Keep them, privately, in one step. Raises OSError."""
    new = file.with_name(file.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as written:
        json.dump(rows, written)
    new.rename(file)


def _time(kept: Any) -> float | None:
    return None if kept is None else float(kept)
