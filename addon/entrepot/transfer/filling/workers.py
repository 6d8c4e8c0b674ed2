"""The threads that fetch what clients wait for, and those that help a slow connection.

Each has a connection of its own, while there is something for it. They are bounded for each blob,
each host and all (``connection_budget``); what they cannot take waits its turn, and is the
download's own thread's where there is no other.
"""

import threading
from collections.abc import Callable

from entrepot.http_client.cancellable_call import Call, making
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import BodyError
from entrepot.transfer.errors import DownloadError, MismatchError
from entrepot.transfer.filling.connection_budget import HELPERS, MOST_OF_BLOB, budget
from entrepot.transfer.filling.filler import Filler, Filling, NoRangesError
from entrepot.transfer.filling.segments import Segment

_LARGEST_PIECE = 16 * 1024 * 1024
_SMALLEST_PIECE = 2 * 1024 * 1024


class Workers:
    """Further connections of one download."""

    def __init__(self, filling: Filling, failed: Callable[[Exception], None]) -> None:
        """``failed`` hears of what ends the whole download, on any of the threads."""
        self._filling = filling
        self._failed = failed
        self._changed = filling.file.changed
        self._calls: set[Call] = set()
        self._helpers = 0
        self._is_over = False
        self.count = 0

    # Under the lock

    def hire(self, host: Origin) -> bool:
        """Have as many as what is wanted can use; False where there is none at all."""
        wanted = min(self._filling.segments.waiting, MOST_OF_BLOB - self.count)
        for _ in range(wanted):
            if not self._start(host, helper=False):
                break
        return self.count > 0

    def help(self, host: Origin) -> bool:
        """Have some that fetch what comes next; False where there is none to spare."""
        before = self.count
        while self._helpers < HELPERS and self._start(host, helper=True):
            self._helpers += 1
        return self.count > before

    def begin(self, host: Origin, segment: Segment, reply: Reply) -> None:
        """Fill a segment whose answer has begun, whatever the budget says."""
        self._start(host, helper=False, begun=(segment, reply))

    def abort(self) -> None:
        """End them all, soon."""
        self._is_over = True
        for call in self._calls:
            call.abort()

    def _start(
        self, host: Origin, *, helper: bool, begun: tuple[Segment, Reply] | None = None
    ) -> bool:
        has_place = budget.take(host)
        if self._is_over or not (has_place or begun):
            if has_place:
                budget.give(host)
            return False
        self.count += 1
        run = lambda: self._run(host if has_place else None, begun, helper=helper)  # noqa: E731
        threading.Thread(target=run, name="segment", daemon=True).start()
        return True

    # On their threads

    def _run(
        self, host: Origin | None, begun: tuple[Segment, Reply] | None, *, helper: bool
    ) -> None:
        call = Call()
        filler = Filler(self._filling, Reply.read, lambda _: None, leads=False)
        with self._changed:
            self._calls.add(call)
            if self._is_over:
                call.abort()
        try:
            with making(call):
                while (task := begun or self._next(helper=helper)) is not None:
                    begun = None
                    self._fill(filler, *task)
        finally:
            with self._changed:
                self._calls.discard(call)
                self._changed.notify_all()
            if host is not None:
                budget.give(host)

    def _next(self, *, helper: bool) -> tuple[Segment, None] | None:
        """What is to be fetched next; who hears that there is nothing counts no more."""
        segments = self._filling.segments
        with self._changed:
            segment = None
            if not segments.has_ranges:
                segments.forget_wanted()
            elif not self._is_over:
                segment = segments.take_wanted()
                if segment is None and helper:
                    segment = segments.take_next(piece(segments.size - segments.covered.total))
            if segment is None:
                self.count -= 1
                self._helpers -= helper
                return None
            return segment, None

    def _fill(self, filler: Filler, segment: Segment, reply: Reply | None) -> None:
        """Fetch a segment; who waits for it is cut where it cannot be had."""
        filling, problem = self._filling, None
        try:
            filler.fill(segment, reply)
        except NoRangesError:
            pass  # the one that leads reads all of it
        except (MismatchError, OSError) as error:
            self._failed(error)
        except (UpstreamError, DownloadError) as error:
            problem = BodyError(str(error))
        except Exception as error:  # noqa: BLE001 the download must hear of whatever it was
            self._failed(error)
        with self._changed:
            filling.segments.end(segment)
            self._changed.notify_all()
        if problem is not None and not filling.stopped.is_set() and segment.wanted:
            filling.file.fail(segment.at, segment.stop, problem)


def piece(left: int) -> int:
    """Large while much is left, small near the end, so that all end at about the same time."""
    return max(_SMALLEST_PIECE, min(_LARGEST_PIECE, left // (2 * (HELPERS + 1))))
