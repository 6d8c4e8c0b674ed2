"""The reader: all that pages ask of the engine and the disk, from the page's own loop.

What is the engine's is looked at in the engine's loop. What is on the disk is read on a few threads
of low priority; none of it holds up a pull.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from entrepot.admin.data.figures import Figures, read_figures
from entrepot.admin.data.periods import Window
from entrepot.admin.data.recent import Recent
from entrepot.admin.data.sources import Live, Sources
from entrepot.observe.reading import RecordReader

_LOW_PRIORITY = 5
_LIVE_SECONDS = 0.5
_HELD_SECONDS = 15.0
_RECORDED_SECONDS = 2.0
_PATIENCE_SECONDS = 0.3
_REST_SECONDS = 120.0
"""So long after it was last asked for, the inventory's memory is given back."""
_CHANGING = frozenset({"remove", "pin", "unpin"})
T = TypeVar("T")
Document = dict[str, Any]


class Reader:
    """Reads; all on the page's loop."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.records = RecordReader(sources.config.data)
        self.recent = Recent(sources.clock)
        # Apart, so that no record waits for an inventory that is read, which takes a while.
        self._inventory = ThreadPoolExecutor(1, "page-held", initializer=_take_low_priority)
        self._records = ThreadPoolExecutor(2, "page-records", initializer=_take_low_priority)
        self._rest: asyncio.TimerHandle | None = None

    async def live(self) -> Live:
        """How the engine is now."""
        return await self.recent.get("live", _LIVE_SECONDS, self._look)

    async def _look(self) -> Live:
        asked = asyncio.run_coroutine_threadsafe(self.sources.look(), self.sources.loop)
        return await asyncio.wrap_future(asked)

    async def figures(self, window: Window) -> Figures:
        """What was served in a window. Raises ``RecordsUnreadableError``."""
        # A point more or less is no reason to read again what was read a moment ago.
        key = ("figures", window.span, window.step, window.since, window.until // 10)
        return await self.recorded(key, lambda: read_figures(self.records, window))

    async def recorded(self, key: Hashable, function: Callable[[], T]) -> T:
        """Ask the records; an answer of some seconds ago will do."""
        return await self.recent.get(
            ("records", key), _RECORDED_SECONDS, lambda: self.of_records(function)
        )

    async def of_records(self, function: Callable[[], T]) -> T:
        """Ask the records as they are now. Raises ``RecordsUnreadableError``."""
        return await asyncio.get_running_loop().run_in_executor(self._records, function)

    async def ask(self, request: Mapping[str, object]) -> Document:
        """Ask what ``control.administration`` answers."""
        answer: Document = await asyncio.get_running_loop().run_in_executor(
            self._inventory, self.sources.administration.answer, request
        )
        self._forget_later()
        if request.get("do") in _CHANGING:
            self.recent.forget()
        return answer

    async def ask_soon(self, request: Mapping[str, object]) -> Document | None:
        """The same, where an answer of some seconds ago will do; None where it takes a while.

        A page is not held up by an inventory that must be read first: it asks again soon.
        """
        key = ("ask", *sorted(request.items()))
        asked = self.recent.get(key, _HELD_SECONDS, lambda: self.ask(request))
        try:
            return await asyncio.wait_for(asked, _PATIENCE_SECONDS)
        except TimeoutError:
            return None

    def _forget_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        loop, end = asyncio.get_running_loop(), self.sources.administration.end
        self._rest = loop.call_later(
            _REST_SECONDS, lambda: loop.run_in_executor(self._inventory, end)
        )


def _take_low_priority() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
