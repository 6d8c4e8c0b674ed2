"""Dispatch of mitmproxy's events: the handlers of each are looked up once, not at every event.

For every event mitmproxy asks each of its add-ons (forty of mitmdump's), and each of theirs,
whether it has a handler. A client connection with one small answer has some twenty events, and
nearly all of them one handler or none; the looking alone was 1.1 of 3.7 ms of CPU (measured).

This is internal to mitmproxy 11.0 to 12.3; ``tests/wire/test_connection_cost.py`` fails loudly
where it moves.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mitmproxy import exceptions, flow, hooks
from mitmproxy.addonmanager import AddonManager, safecall, traverse

Handlers = tuple[tuple[Callable[..., Any], ...], ...]
"""Of one event: those of an add-on and of its own add-ons together, for each add-on that has any.

mitmproxy treats them so: an exception in one leaves out the rest of its group, not the others.
"""


def remember_handlers(manager: AddonManager) -> None:
    """Make ``manager`` remember who handles an event, until an add-on comes or goes."""
    dispatch = _Dispatch(manager)
    for name in ("register", "remove", "clear"):
        setattr(manager, name, dispatch.forgetting(getattr(manager, name)))
    manager.handle_lifecycle = dispatch.handle_lifecycle  # type: ignore[method-assign]


class _Dispatch:
    def __init__(self, manager: AddonManager) -> None:
        self._manager = manager
        self._known: dict[str, Handlers] = {}

    def forgetting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """``method``, which changes the add-ons."""

        def changed(*args: Any) -> Any:
            try:
                return method(*args)
            finally:
                self._known.clear()

        return changed

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Call an event's handlers, and those of ``update`` where it is about a flow."""
        (message,) = event.args()
        await self._call(event.name, message)
        if isinstance(message, flow.Flow):
            await self._call(hooks.UpdateHook.name, [message])

    async def _call(self, name: str, message: Any) -> None:
        groups = self._known.get(name)
        if groups is None:
            groups = self._known[name] = self._find(name)
        for handlers in groups:
            try:
                with safecall():
                    for handler in handlers:
                        result = handler(message)
                        if result is not None and inspect.isawaitable(result):
                            await result
            except exceptions.AddonHalt:
                return

    def _find(self, name: str) -> Handlers:
        each = (
            tuple(
                handler
                for inner in traverse([addon])
                if callable(handler := getattr(inner, name, None))
            )
            for addon in self._manager.chain
        )
        return tuple(handlers for handlers in each if handlers)
