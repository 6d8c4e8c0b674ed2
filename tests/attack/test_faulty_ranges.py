"""Registries that fail in the middle of ranges: a client has the right bytes, or none as whole.

One proxy for all faults, each in a repository of its own. A client asks for a part in the middle of
a cold blob; whatever upstream does to that part, once or each time, nothing wrong is stored, and as
soon as the registry is well again the next pull is right and is stored.
"""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from rig.client import Answer, Client
from rig.faults import Exchange, FaultServer
from rig.images import KIB, MIB, incompressible
from rig.process import RigError, eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"
SIZE = 2 * MIB
START, STOP = MIB, MIB + 100 * KIB
PART = f"bytes={START}-{STOP - 1}"
CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError, TimeoutError)

Spoil = Callable[[Exchange, bytes, int, int], None]
"""Answers a request for the bytes from one offset up to another wrongly."""


def _head(start: int, stop: int, size: int | str = SIZE, **other: str) -> dict[str, str]:
    head = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return {**head, "Content-Type": "application/octet-stream", **other}


def _status(status: int) -> Spoil:
    def spoil(exchange: Exchange, *_: object) -> None:
        exchange.send(status)

    return spoil


def _broken(share: float, *, reset: bool) -> Spoil:
    """Break off after a share of the part."""

    def spoil(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
        exchange.start(206, _head(start, stop, **{"Content-Length": str(stop - start)}))
        exchange.write(body[start : start + int((stop - start) * share)])
        exchange.cut(reset=reset)

    return spoil


def _short(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    """Send less than is said, in order."""
    exchange.send(206, body[start : stop - 1000], _head(start, stop))


def _long(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    """Send more than was asked for, and say so."""
    end = min(SIZE, stop + 64 * KIB)
    exchange.send(206, body[start:end], _head(start, end))


def _longer_than_said(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    exchange.send(206, body[start:stop] + b"more" * 1000, _head(start, stop))


def _elsewhere(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    """Send another part, and say which."""
    exchange.send(206, body[start - 1000 : stop - 1000], _head(start - 1000, stop - 1000))


def _other_size(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    exchange.send(206, body[start:stop], _head(start, stop, SIZE + 5000))


def _unknown_size(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    exchange.send(206, body[start:stop], _head(start, stop, "*"))


def _no_place(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    exchange.send(206, body[start:stop])


def _odd_place(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    exchange.send(206, body[start:stop], {"Content-Range": "bytes 12-7/-1"})


def _whole(exchange: Exchange, body: bytes, start: int, stop: int) -> None:  # noqa: ARG001
    """Know no ranges."""
    exchange.send(200, body)


def _part_as_whole(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    """Send the part, and say that it is the whole blob."""
    exchange.send(200, body[start:stop])


def _unsatisfiable(exchange: Exchange, body: bytes, start: int, stop: int) -> None:  # noqa: ARG001
    exchange.send(416, b"", {"Content-Range": f"bytes */{SIZE}"})


def _smaller(exchange: Exchange, body: bytes, start: int, stop: int) -> None:  # noqa: ARG001
    """Say that the blob is not so long."""
    exchange.send(416, b"", {"Content-Range": f"bytes */{MIB // 2}"})


def _multipart(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    kind = "multipart/byteranges; boundary=x"
    head = f"--x\r\nContent-Range: bytes {start}-{stop - 1}/{SIZE}\r\n\r\n".encode()
    exchange.send(206, head + body[start:stop] + b"\r\n--x--\r\n", {"Content-Type": kind})


def _login_page(exchange: Exchange, body: bytes, start: int, stop: int) -> None:  # noqa: ARG001
    exchange.send(200, b"<html>sign in</html>", {"Content-Type": "text/html"})


def _wrong_byte(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    wrong = bytes([body[start] ^ 1]) + body[start + 1 : stop]
    exchange.send(206, wrong, _head(start, stop))


def _coded(exchange: Exchange, body: bytes, start: int, stop: int) -> None:
    """Say that the part is compressed."""
    exchange.send(206, body[start:stop], _head(start, stop, **{"Content-Encoding": "gzip"}))


@dataclass(frozen=True, slots=True)
class Fault:
    """What upstream does to a part, and what a client may make of it."""

    name: str
    spoil: Spoil
    wrong: bool = False
    """Whether the registry sends other bytes, or another size, as it does without the cache.

    A client of a part must find that by itself; here it is found when all has come.
    """
    mended_once: bool = True
    """Whether a client does not notice one that happens once."""
    taken_for_whole: bool = False
    """Whether what is sent is taken for the blob itself, until its digest is looked at.

    Who pulls meanwhile follows that download, and is cut short of its last byte.
    """


FAULTS = (
    Fault("500", _status(500)),
    Fault("503", _status(503)),
    Fault("404", _status(404), mended_once=False),
    Fault("reset before a byte", _broken(0, reset=True)),
    Fault("reset half-way", _broken(0.5, reset=True)),
    Fault("closed half-way", _broken(0.5, reset=False)),
    Fault("shorter than said", _short),
    Fault("longer than asked for", _long),
    Fault("longer than said", _longer_than_said),
    Fault("another part", _elsewhere, mended_once=False),
    Fault("another size", _other_size, wrong=True),
    Fault("no size", _unknown_size),
    Fault("no Content-Range", _no_place, mended_once=False),
    Fault("a Content-Range of nothing", _odd_place, mended_once=False),
    Fault("200 and all", _whole),
    Fault("200 and the part alone", _part_as_whole, mended_once=False, taken_for_whole=True),
    Fault("416", _unsatisfiable, mended_once=False),
    Fault("416 with another size", _smaller, mended_once=False),
    Fault("several parts", _multipart, mended_once=False),
    Fault("a login page", _login_page, mended_once=False, taken_for_whole=True),
    Fault("a wrong byte", _wrong_byte, wrong=True),
    Fault("said to be compressed", _coded, mended_once=False),
)
NAMES = {fault.name: fault for fault in FAULTS}


class Spoilt:
    """A blob of which one part is spoilt, so many times."""

    def __init__(self, faults: FaultServer, name: str, fault: Fault, times: float) -> None:
        self.body = b"".join(incompressible(f"spoilt {name}", SIZE))
        self.path, self.content = faults.add_blob(name.replace(" ", "-").lower(), self.body)
        self._fault = fault
        self._left = times
        self._lock = threading.Lock()
        faults.routes[self.path] = self

    def __call__(self, exchange: Exchange) -> None:
        wanted = self.content.wanted(exchange.request.range)
        if exchange.request.method == "GET" and wanted and self._takes(*wanted):
            self._fault.spoil(exchange, self.body, *wanted)
        else:
            self.content(exchange)

    def _takes(self, start: int, stop: int) -> bool:
        """Whether this request is spoilt: it is for what the client asks for, and it is time."""
        with self._lock:
            spoils = self._left > 0 and start < STOP and stop > START + 1
            self._left -= spoils
            return spoils

    def heal(self) -> None:
        with self._lock:
            self._left = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client made of it: of the part, and of the next pulls, when all was well again."""

    part: str
    pulls: list[str]
    stored: bool
    said: bool
    """Whether the log says that other bytes came."""


def _asked(client: Client, blob: Spoilt, fault: Fault) -> str:
    """Ask for the part; what it was."""
    try:
        answer = client.get(FAULT + blob.path, {"Range": PART})
    except CUT:
        return "cut"
    if answer.status >= 400:
        return "refused"
    return "right" if _is_right(answer, blob.body) else "own" if fault.wrong else "WRONG"


def _is_right(answer: Answer, body: bytes) -> bool:
    if answer.status == 200:
        return answer.body == body
    named = answer.headers["Content-Range"] == f"bytes {START}-{STOP - 1}/{SIZE}"
    return answer.status == 206 and named and answer.body == body[START:STOP]


def _pulled(client: Client, blob: Spoilt) -> str:
    try:
        answer = client.get(FAULT + blob.path)
    except CUT:
        return "cut"
    return "right" if (answer.status, answer.body) == (200, blob.body) else "WRONG"


def _tried(entrepot: Entrepot, client: Client, blob: Spoilt, fault: Fault) -> Seen:
    part = _asked(client, blob, fault)
    blob.heal()
    digest = blob.path.rpartition("/")[2]
    words = [f"{event} digest={digest}" for event in ("digest_mismatched", "fetch_broken")]

    def is_said() -> bool:
        return any(word in entrepot.log for word in words)

    if fault.wrong or fault.taken_for_whole:  # it is noticed when all is here
        with contextlib.suppress(RigError):
            eventually(is_said, what=digest)
    pulls = [_pulled(client, blob) for _ in range(2)]
    entrepot.await_stored([digest])
    stored = "hit" in client.head(FAULT + blob.path).cache_status
    return Seen(part, pulls, stored, is_said())


Results = dict[tuple[str, float], Seen]


@pytest.fixture
def results(entrepot: Entrepot, faults: FaultServer) -> Iterator[Results]:
    """Every fault, once and each time, several at a time."""
    client = entrepot.client(timeout=40)
    with ThreadPoolExecutor(6) as pool:
        futures = {}
        for fault in FAULTS:
            for times in (1, float("inf")):
                blob = Spoilt(faults, f"{fault.name} {times}", fault, times)
                key = (fault.name, times)
                futures[key] = pool.submit(_tried, entrepot, client, blob, fault)
        yield {key: future.result() for key, future in futures.items()}


def test_no_fault_of_a_range_does_harm(results: Results, entrepot: Entrepot) -> None:
    """What a client has as whole is right; what was wrong is thrown away; the next pull is right.

    Only where a registry itself sends other bytes does a client of a part get them.
    """
    wrong = {}
    for (name, times), seen in results.items():
        fault = NAMES[name]
        allowed = {"own"} if fault.wrong else {"right", "cut", "refused"}
        if times == 1 and fault.mended_once and not fault.wrong:
            allowed = {"right"}
        is_well = (
            seen.pulls == ["right", "right"] and seen.stored and (seen.said or not fault.wrong)
        )
        if seen.part not in allowed or not is_well:
            wrong[name, times] = seen
    assert list(wrong.items()) == []
    assert "Traceback" not in entrepot.log
