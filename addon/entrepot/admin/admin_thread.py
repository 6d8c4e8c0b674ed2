"""The thread on which the page lives, with an event loop of its own: no pull waits for a page.

What it is made of (a web framework, templates) is imported there, when it is first wanted.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence

from entrepot.admin.handover import Application, Message, Receive, Send, hand_over
from entrepot.endpoints.page_request import PageRequest
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.messages import Answer, error_answer

ANSWER_SECONDS = 30.0
MOST_AT_ONCE = 64
_LOW_PRIORITY = 5
"""A quarter of a busy core: pulls come first, and somebody waits for the answer."""
_STOP_SECONDS = 3.0


class AdminThread:
    """Runs the application from the first request on, or from :meth:`listen`, to :meth:`stop`."""

    def __init__(self, make: Callable[[], Application], events: Events) -> None:
        """``make`` makes the application, on the thread."""
        self._make = make
        self._events = events
        self._ready: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, Application]] = (
            concurrent.futures.Future()
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._asked = 0

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Serve at these, too; they listen already, and are closed with the thread."""
        self._start(sockets)

    async def answer(self, request: PageRequest) -> Answer:
        """Answer a request that came to another loop, on which this runs."""
        if self._asked >= MOST_AT_ONCE:
            return error_answer(503, "UNAVAILABLE", "the page is asked too much: try again")
        self._asked += 1
        try:
            self._start(())
            loop, application = await asyncio.wrap_future(self._ready)
            asked = asyncio.run_coroutine_threadsafe(hand_over(application, request), loop)
            return await asyncio.wait_for(asyncio.wrap_future(asked), ANSWER_SECONDS)
        except TimeoutError:
            return error_answer(503, "UNAVAILABLE", "the page takes too long: try again")
        finally:
            self._asked -= 1

    def stop(self) -> None:
        """End the thread; what it still answers is not waited for long."""
        thread = self._thread
        if thread is None:
            return
        with contextlib.suppress(Exception):
            loop, _ = self._ready.result(_STOP_SECONDS)
            if self._stopping is not None:
                loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_STOP_SECONDS)

    def _start(self, sockets: Sequence[socket.socket]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(tuple(sockets),), name="page", daemon=True
                )
                self._thread.start()

    # On the thread

    def _run(self, sockets: Sequence[socket.socket]) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
        try:
            asyncio.run(self._serve(sockets))
        except Exception as error:  # noqa: BLE001 the proxy goes on without its page
            self._events.log(Event.HOOK_FAILED, task="the page")
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            for one in sockets:
                one.close()

    async def _serve(self, sockets: Sequence[socket.socket]) -> None:
        stopping = self._stopping = asyncio.Event()
        application = self._guarded(self._make())
        self._ready.set_result((asyncio.get_running_loop(), application))
        if not sockets:
            await stopping.wait()
            return
        from entrepot.admin.listening import serve  # noqa: PLC0415 where it is used

        await serve(application, sockets, stopping)

    def _guarded(self, application: Application) -> Application:
        """One failure of ours is an answer, and must not end the others."""

        async def guarded(scope: Message, receive: Receive, send: Send) -> None:
            begun = False

            async def noting(message: Message) -> None:
                nonlocal begun
                begun = True
                await send(message)

            try:
                await application(scope, receive, noting)
            except Exception:  # noqa: BLE001 see above
                self._events.log(Event.HOOK_FAILED, task="a page")
                if not begun:
                    await send({"type": "http.response.start", "status": 500, "headers": []})
                    await send({"type": "http.response.body", "body": b"the page failed\n"})

        return guarded
