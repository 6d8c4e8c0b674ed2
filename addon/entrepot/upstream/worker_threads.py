"""Blocking calls, each on a daemon thread of its own: one that stalls never delays the exit."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.errors import AbandonedError, UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.messages import Request
from entrepot.upstream.concurrency_limits import Slots

T = TypeVar("T")


class WorkerThreads:
    """Runs what blocks for one event loop, within bounds (see ``concurrency_limits``)."""

    def __init__(self, slots: Slots | None = None) -> None:
        self.slots = slots or Slots()

    async def call(
        self,
        function: Callable[[], T],
        within: float | None = None,
        *,
        by: Request | None = None,
    ) -> T:
        """Run a blocking function on a thread of its own, for the request ``by`` of a client.

        It waits for its place, and is ended soon after the last client has left. ``within`` is
        for both, the wait and the function: TimeoutError where the function runs longer (its
        thread goes on). Raises ``UpstreamError`` where it got no place, or was ended.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        call = await self.slots.take(by, within)
        if by is not None:
            by.sending()
        future = self._start(function, call, loop)
        left = None if within is None else within - (loop.time() - began)
        try:
            async with asyncio.timeout(left):
                return await asyncio.shield(future)  # who gives up does not end the thread
        except (TimeoutError, asyncio.CancelledError):
            future.add_done_callback(_close_unwanted)
            raise

    def call_if_free(self, function: Callable[[], object], name: str, by: Request) -> bool:
        """Run what nobody waits for, where there is a place for it at once; whether there was."""
        call = self.slots.take_now(by)
        if call is not None:
            self._start(function, call, asyncio.get_running_loop(), name)
        return call is not None

    def _start(
        self,
        function: Callable[[], T],
        call: Call,
        loop: asyncio.AbstractEventLoop,
        name: str | None = None,
    ) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(lambda _: self.slots.give_back(call))
        arguments = (function, call, future, loop)
        try:
            threading.Thread(target=_run, args=arguments, name=name, daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            future.set_exception(UpstreamError("no thread could be started"))
            future.exception()
        return future


def _close_unwanted(future: "asyncio.Future[Any]") -> None:
    """Let go of an answer that came when nobody waited any more."""
    if not future.cancelled() and not future.exception() and isinstance(future.result(), Reply):
        future.result().close()


def _run(
    function: Callable[[], T],
    call: Call,
    future: "asyncio.Future[T]",
    loop: asyncio.AbstractEventLoop,
) -> None:
    def settle(result: T | None, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)
            future.exception()  # it was seen, even where nobody waits any more

    result: T | None = None
    problem: BaseException | None = None
    try:
        with making(call):
            result = function()
        if call.is_aborted and isinstance(result, Reply):  # its connection is shut
            result.close()
            problem = AbandonedError(call.origin)
    except BaseException as error:  # noqa: BLE001 it is raised where the function was asked for
        # What an ended call says of its host is not the host's doing.
        problem = AbandonedError(call.origin) if call.is_aborted else error
    try:
        loop.call_soon_threadsafe(settle, result, problem)
    except RuntimeError:  # the loop has ended meanwhile
        if isinstance(result, Reply):
            result.close()
