"""Blocking calls, each on a daemon thread of its own: one that stalls never delays the exit."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.reply import Reply

_CALLS_AT_ONCE = 128

T = TypeVar("T")


class Threads:
    """Runs what blocks, so many calls at once. Belongs to one event loop."""

    def __init__(self) -> None:
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def call(self, function: Callable[[], T], within: float | None = None) -> T:
        """Run a blocking function on a thread of its own.

        Raises TimeoutError where it runs longer than ``within`` seconds; the thread goes on.
        """
        loop = asyncio.get_running_loop()
        await self._calls.acquire()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda _: self._calls.release())
        threading.Thread(target=_run, args=(function, future, loop), daemon=True).start()
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(future)  # who gives up does not end the thread
        except (TimeoutError, asyncio.CancelledError):
            future.add_done_callback(_close_unwanted)
            raise


def _close_unwanted(future: "asyncio.Future[Any]") -> None:
    """Let go of an answer that came when nobody waited any more."""
    if not future.cancelled() and not future.exception() and isinstance(future.result(), Reply):
        future.result().close()


def _run(
    function: Callable[[], T], future: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop
) -> None:
    def settle(result: T | None, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)
            future.exception()  # it was seen, even where nobody waits any more

    result, problem = None, None
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 it is raised where the function was asked for
        problem = error
    try:
        loop.call_soon_threadsafe(settle, result, problem)
    except RuntimeError:  # the loop has ended meanwhile
        if isinstance(result, Reply):
            result.close()
