"""Who answers a command about images: the running proxy, else its folder, opened for a moment."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entrepot.app.start_error import StartError
from entrepot.cli.data_owner import as_owner
from entrepot.control.client import Ask, connected

_MOST = 2**62
"""A limit that evicts nothing: the proxy's own is its own to keep."""


@contextmanager
def administrator(folder: Path) -> Iterator[Ask]:
    """How to ask. What it gives back is what was asked for; raises ``StartError`` else."""
    if not (folder / "format").exists():
        raise StartError(f"data folder {str(folder)!r}: there is none; see --data")
    with connected(folder) as ask, contextlib.ExitStack() as stack:
        answer = ask if ask is not None else stack.enter_context(_opened(folder))

        def checked(request: dict[str, Any]) -> dict[str, Any]:
            told = answer(request)
            if not told["ok"]:
                raise StartError(told["error"])
            return told

        yield checked


@contextmanager
def _opened(folder: Path) -> Iterator[Ask]:
    from entrepot.control.administration import Administration  # noqa: PLC0415 a database, too
    from entrepot.events.log import Events  # noqa: PLC0415
    from entrepot.storage.errors import StoreError  # noqa: PLC0415
    from entrepot.storage.store import Store  # noqa: PLC0415

    events = Events()
    with as_owner(folder):
        try:
            store = Store(folder, _MOST, events=events, trims=False)
        except StoreError as error:
            raise StartError(str(error)) from error
        with contextlib.closing(store):
            administration = Administration(store, lambda function: function(), events)
            yield administration.answer
