"""Progress of layers on standard error: a bar each, where a terminal shows them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from entrepot.cli.warm.image_pull import LayerProgress

_SHORT = len("sha256:") + 12


@contextmanager
def layer_bars() -> Iterator[LayerProgress]:
    """Where to tell of layers."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console  # noqa: PLC0415 only where somebody looks
    from rich.progress import (  # noqa: PLC0415 the same
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    class Bars:
        def begin(self, image: str, digest: str, size: int | None) -> Callable[[int], None]:
            task = progress.add_task(f"{image} {digest[7:_SHORT]}", total=size)

            def told(count: int) -> None:
                if count < 0:
                    progress.remove_task(task)
                else:
                    progress.advance(task, count)

            return told

    with Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield Bars()


class _Silent:
    def begin(self, image: str, digest: str, size: int | None) -> Callable[[int], None]:
        """Hear nothing."""
        del image, digest, size
        return lambda _: None
