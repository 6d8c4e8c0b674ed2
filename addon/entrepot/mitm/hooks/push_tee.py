"""A tee in what is pushed: the bodies go to the registry, and to the cache on their way.

mitmproxy hands each piece of a streamed body to a function, and its end as no bytes; what the
function gives back goes to the server. An exception in it would end the connection, so none
leaves it: what goes wrong here costs the cache a blob, never the push.
"""

import contextlib
from collections.abc import Callable

from mitmproxy import http

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.mitm import translate
from entrepot.mitm.hooks.classify_request import passing
from entrepot.mitm.state import ProxyState
from entrepot.push.request_tap import RequestTap

TAP = "entrepot.tap"
"""Key of ``flow.metadata``: the :class:`RequestTap` of a flow that is under way."""


class PushTee:
    """Hands what is pushed to the cache too; comes after ``Requests``, which says what passes."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Watch a request of a push, before its body comes."""
        asked = passing(flow)
        if asked is None:
            return
        parts = self._state.parts()
        if parts.foundation.config.no_keep_pushed:
            return
        tap = parts.cache.pushes.watch(asked.request, asked.endpoint, translate.content_size(flow))
        if tap is None:
            return
        flow.metadata[TAP] = tap
        if translate.has_content(flow):
            flow.request.stream = tee(tap, self._state.events())
        else:
            tap.add(b"")

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Hand on what the registry answered."""
        tap: RequestTap | None = flow.metadata.pop(TAP, None)
        if tap is not None and flow.response is not None:
            tap.answered(flow.response.status_code, translate.fields_of(flow.response))

    def response(self, flow: http.HTTPFlow) -> None:
        """End a capture that another hook's failure left open."""
        self.error(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """End the capture: the client or the registry has left."""
        tap: RequestTap | None = flow.metadata.pop(TAP, None)
        if tap is not None:
            tap.broken()


def tee(tap: RequestTap, events: Events) -> Callable[[bytes], bytes]:
    """Make a ``flow.request.stream`` that gives each piece to the cache, and returns it."""

    def passed(data: bytes) -> bytes:
        try:
            tap.add(data)
        except Exception:  # noqa: BLE001 one failure must not end the others
            events.log(Event.HOOK_FAILED, task="taking in what is pushed")
            with contextlib.suppress(Exception):
                tap.broken()
        return data

    return passed
