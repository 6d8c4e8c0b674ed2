"""Which upstream hosts answer: what requests find out, and the trials of those that did not.

A request that could be answered without upstream is not made to wait for a host that is known to be
away: it is answered so, and behind it the host is tried again (see ``circuit_breaker``).
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial

from entrepot.bounded_map import BoundedMap
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.http_client.connect.ssrf_guard import DestinationError
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Request
from entrepot.protocol.network_reach import Reach
from entrepot.upstream.circuit_breaker import TRIAL_SECONDS, Attempt, Breakers

_MOST_TRIALS = 1000
_TRIALS_AT_ONCE = 64


class HostHealth:
    """The state of every upstream host that failed lately, kept on the event loop."""

    def __init__(
        self,
        events: Events,
        clock: Callable[[], float],
        reach_of: Callable[[Request], Reach],
        ask_again: Callable[[Origin, Request | None], Reply],
        *,
        offline: bool = False,
    ) -> None:
        """``ask_again`` sends, on a thread, the request that a host let pass, or a ping.

        ``clock`` never jumps; ``offline``: no host is asked at all.
        """
        self.offline = offline
        self.breakers = Breakers()
        self._events = events
        self._clock = clock
        self._reach_of = reach_of
        self._ask_again = ask_again
        self._reasons: BoundedMap[Origin, str] = BoundedMap(_MOST_TRIALS)
        """Why hosts gave no answer when they were last asked."""
        self._trials: BoundedMap[Origin, Request] = BoundedMap(_MOST_TRIALS)
        """What hosts let a deadline pass on; in memory only, with what it said of who asked."""
        self._trying: set[Origin] = set()

    def may_ask(self, origin: Origin, *, fallback: bool) -> bool:
        """Whether to ask a host; ``fallback`` says that there is an answer without it."""
        if self.offline:
            return False
        ask = self.breakers.ask(origin, self._clock(), fallback=fallback)
        if ask is Attempt.BEHIND and len(self._trying) < _TRIALS_AT_ONCE:
            self._trying.add(origin)
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._try, args=(origin, loop), daemon=True).start()
        return ask is Attempt.NOW

    def is_away(self, origin: Origin) -> bool:
        """Whether a host does not answer; it is tried again meanwhile, where that is due."""
        away = self.offline or self.breakers.is_away(origin)
        return away and not self.may_ask(origin, fallback=True)

    def answered(self, *origins: Origin) -> None:
        """Take in that hosts answered, whatever it was."""
        for origin in dict.fromkeys(origins):
            self._trials.pop(origin)
            self._reasons.pop(origin)
            if self.breakers.answered(origin):
                self._events.log(Event.UPSTREAM_BACK, host=origin)

    def failed(self, error: UpstreamError, asked: Request | None = None) -> None:
        """Take in that upstream did not answer; ``asked`` is what will be tried again.

        A host that redirects a HEAD to one that hangs is no faster than that one.
        """
        if error.silent is None:
            return
        self._silent(error.silent, error, connected=error.connected)
        if asked is None or not error.slow:
            return
        if asked.origin != error.silent:
            if asked.method != "HEAD":
                return
            self._silent(asked.origin, error, connected=True)
        # Without what belongs to a client's connection, which would be held with it.
        trial = Request(
            "HEAD",
            asked.origin,
            asked.path,
            asked.query,
            asked.headers,
            account=asked.account,
            reach=self._reach_of(asked),
        )
        self._trials.put(asked.origin, trial, renew=False)

    def reason(self, origin: Origin) -> str | None:
        """Why a host gave no answer when it was last asked; None where it did."""
        return self._reasons.get(origin)

    def left_alone(self, origin: Origin) -> UpstreamError:
        """Why a host is not asked now that is known not to answer."""
        reason = self._reasons.get(origin)
        why = f"{reason}; it does not answer" if reason else "it does not answer"
        return UpstreamError(f"{origin}: {why}; asked again soon", again=TRIAL_SECONDS)

    def rest(self, origin: Origin, seconds: float) -> None:
        """Leave a host alone that asked for it, for what can be had without it."""
        now = self._clock()
        self.breakers.rest(origin, now + seconds, now)

    def states(self) -> dict[Origin, str]:
        """Every host that is not simply up: ``down``, ``slow`` or ``resting``."""
        return self.breakers.states(self._clock())

    def _try(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> None:
        """Find out, on a thread, whether a host answers again: anything counts.

        It is asked again what it let a deadline pass on: many that hang still answer a ping.
        """
        try:
            reply = self._ask_again(origin, self._trials.get(origin))
            reply.drain()
            heard = partial(self.answered, origin, reply.target.origin)
        except UpstreamError as error:
            heard = partial(self.failed, error)
        except DestinationError:  # only who may go there can try
            heard = partial(self.answered, origin)
        finally:
            self._trying.discard(origin)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(heard)

    def _silent(self, origin: Origin, error: UpstreamError, *, connected: bool) -> None:
        self._reasons.put(origin, str(error).removeprefix(f"{origin}: "), renew=False)
        if self.breakers.failed(origin, self._clock(), connected=connected, slow=error.slow):
            state = self.breakers.states(self._clock())[origin]
            self._events.log(Event.UPSTREAM_AWAY, host=origin, state=state, reason=error)
