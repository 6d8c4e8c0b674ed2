"""The record of each request, made when its answer has ended, whoever gave it.

That is the one place for all roads and all who answer: the cache, a login, an account, upstream
itself, and errors. A request that began a fetch is recorded when that has ended, which may be after
its client has left: the bytes are its own.
"""

import asyncio
import time
from dataclasses import replace

from mitmproxy import http

from entrepot.events.table import Event
from entrepot.mitm.layers.mitmproxy_errors import FAILURE, Failure
from entrepot.mitm.recording.subject import SUBJECT, Subject, road_of
from entrepot.mitm.sending.chunk_loop import CUT, LEFT, SENT
from entrepot.mitm.state import ProxyState, client_of
from entrepot.mitm.translate import FETCHING, WHY
from entrepot.observe.outcome import CacheAnswer, Outcome, said_by_us, understood
from entrepot.observe.request_record import (
    LONGEST_REASON,
    RequestRecord,
    cleaned_agent,
)
from entrepot.protocol import cache_status
from entrepot.protocol.messages import Fetching
from entrepot.protocol.routes import Manifest

_INDICES = ("manifest.list.v2", "image.index.v1")
"""What the media types of manifests have in them that list manifests."""


_CACHE_STATUS = cache_status.FIELD.lower().encode()


class RecordRequests:
    """Makes the record of each request that touched the cache."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._waiting: set[asyncio.Task[None]] = set()

    def response(self, flow: http.HTTPFlow) -> None:
        """Record an answer that went out whole."""
        self._record(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Record one that did not, or none."""
        self._record(flow)

    def _record(self, flow: http.HTTPFlow) -> None:
        subject: Subject | None = flow.metadata.pop(SUBJECT, None)
        if subject is None or not self._state.parts().recorder.is_on:
            return
        try:
            self._put(flow, subject)
        except Exception:  # noqa: BLE001 the answer goes on, and so do the other hooks
            self._state.events().log(Event.HOOK_FAILED, task="the record of a request")

    def _put(self, flow: http.HTTPFlow, subject: Subject) -> None:
        record = _record_of(flow, subject, time.time(), self._shown(flow))
        fetching: Fetching | None = flow.metadata.pop(FETCHING, None)
        if fetching is None:
            self._state.parts().recorder.put(record)
        elif fetching.retired.is_set():
            self._state.parts().recorder.put(_with_fetch(record, fetching))
        else:
            task = asyncio.create_task(self._record_when_fetched(record, fetching))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    def _shown(self, flow: http.HTTPFlow) -> str:
        client = client_of(flow.client_conn)
        return self._state.parts().foundation.config.record.shown(client)

    async def _record_when_fetched(self, record: RequestRecord, fetching: Fetching) -> None:
        await fetching.retired.wait()
        self._state.parts().recorder.put(_with_fetch(record, fetching))


def _record_of(flow: http.HTTPFlow, subject: Subject, now: float, client: str) -> RequestRecord:
    request, response = flow.request, flow.response
    began = request.timestamp_start
    status, answered = _answer(flow, subject)
    understood_as = understood(answered)
    outcome, why = _decision(flow, understood_as, status)
    sent = flow.metadata.get(SENT)
    if sent is None:
        sent = len(response.raw_content or b"") if response is not None else 0
    first = (response.timestamp_start if response is not None else None) or now
    from_disk, from_upstream = _sources(understood_as, outcome, sent)
    return RequestRecord(
        at=began,
        client=client,
        agent=cleaned_agent(_field(request.headers, b"user-agent")),
        road=road_of(flow.client_conn),
        registry=subject.registry_name,
        kind=_kind(flow, subject, understood_as),
        repository=subject.repository,
        reference=subject.reference,
        method=request.method.upper()[:16],
        status=status,
        answered=answered,
        outcome=outcome,
        why=why[:LONGEST_REASON],
        cut=_cut(flow)[:LONGEST_REASON],
        sent=sent,
        from_disk=from_disk,
        from_upstream=from_upstream,
        first_byte_ms=_milliseconds(first - began),
        total_ms=_milliseconds(now - began),
    )


def _answer(flow: http.HTTPFlow, subject: Subject) -> tuple[int, str]:
    """The status of an answer, and what ``Cache-Status`` says in it."""
    if flow.response is not None:
        value = _field(flow.response.headers, _CACHE_STATUS)
        return flow.response.status_code, said_by_us([value]) if value else ""
    how = said_by_us([cache_status.bypass(subject.endpoint.detail)[1]])
    return 502 if FAILURE in flow.metadata else 0, how


def _decision(flow: http.HTTPFlow, answer: CacheAnswer, status: int) -> tuple[Outcome, str]:
    """What became of a request, and why."""
    said: str = flow.metadata.get(WHY, "")
    failure: Failure | None = flow.metadata.get(FAILURE)
    if failure is not None and flow.response is None:
        return Outcome.ERROR, failure.reason
    ours = bool(said) and status >= 500
    return Outcome.ERROR if ours else answer.outcome, said or answer.reason


def _cut(flow: http.HTTPFlow) -> str:
    """Why an answer ended before its end; empty where it did not, or where it is an error."""
    if CUT in flow.metadata:
        return str(flow.metadata[CUT])
    if flow.error is None or (flow.response is None and FAILURE in flow.metadata):
        return ""
    if flow.error.msg == flow.error.KILLED_MESSAGE and flow.response is not None:
        return ""  # refused before its body had come
    failure: Failure | None = flow.metadata.get(FAILURE)
    return failure.reason if failure is not None else LEFT


def _kind(flow: http.HTTPFlow, subject: Subject, answer: CacheAnswer) -> str:
    if answer.detail == "token":
        return "token"
    if isinstance(subject.endpoint, Manifest) and flow.response is not None:
        media_type = _field(flow.response.headers, b"content-type")
        return "index" if any(word in media_type for word in _INDICES) else "manifest"
    return subject.endpoint.detail


def _sources(answer: CacheAnswer, outcome: Outcome, sent: int) -> tuple[int, int]:
    """How many of the bytes that were sent were here, and how many came from upstream."""
    if outcome is Outcome.ERROR or answer.is_from_memory:
        return 0, 0
    return (sent, 0) if outcome in (Outcome.HIT, Outcome.COLLAPSED) else (0, sent)


def _with_fetch(record: RequestRecord, fetching: Fetching) -> RequestRecord:
    """The same, of whose bytes those came from upstream that its fetch brought."""
    received = fetching.received
    return replace(record, from_disk=max(0, record.sent - received), from_upstream=received)


def _field(headers: http.Headers, name: bytes) -> str:
    """The last value of a header field, read from the bytes: by the mapping it costs six times."""
    for known, value in reversed(headers.fields):
        if known.lower() == name:
            return value.decode("utf-8", "surrogateescape")
    return ""


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
