"""A stop lets requests and pulls end that are under way, and keeps nobody waiting for nothing."""

import http.client
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from entrepot.mitm.restart.drain import PAUSE
from rig.client import ConnectRefusedError, Stream
from rig.faults import Content, Exchange, FaultServer, Gate
from rig.images import MIB, incompressible
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("drained", 3 * MIB))
SMALL = b"the next layer of the same pull"
STRANGER = "127.0.0.77"


class Pull:
    """A layer that a client is reading, and that ends when the test says so."""

    def __init__(self, faults: FaultServer, proxy: Entrepot) -> None:
        self.proxy = proxy
        self.client = proxy.client()
        path, content = faults.add_blob("app", BODY)
        self._gate = content.gate = Gate(2 * MIB)
        self.next, _ = faults.add_blob("app", SMALL)
        self.stream: Stream = self.client.open("GET", FAULT + path)
        assert self.stream.read(MIB // 2) == BODY[: MIB // 2]

    def stop(self) -> None:
        """Tell the proxy to stop, and return when it has begun to."""
        self.proxy.daemon.signal(signal.SIGTERM)
        await_drain(self.proxy)

    def finish(self) -> None:
        """Let the layer end, and see that it comes whole."""
        self._gate.open()
        assert self.stream.read() == BODY[MIB // 2 :]
        self.stream.close()


def await_drain(proxy: Entrepot) -> None:
    eventually(lambda: "drain_begun" in proxy.log, what="it stops")


@pytest.fixture
def patient(start_entrepot: "StartEntrepot") -> Entrepot:
    """A proxy that lets a stop take long, so that no test ends by its time being over."""
    return start_entrepot(drain="50s")


@pytest.fixture
def pull(patient: Entrepot, faults: FaultServer) -> Iterator[Pull]:
    one = Pull(faults, patient)
    yield one
    one.stream.close()


def test_a_pull_in_progress_gets_its_next_layers(pull: Pull) -> None:
    """Over new connections, also when no other of its requests is under way at that moment."""
    pull.stop()
    assert pull.client.get(FAULT + pull.next).body == SMALL
    pull.finish()
    assert pull.client.get(FAULT + pull.next).body == SMALL
    assert pull.proxy.daemon.wait(20) == 0
    assert "transfers_unfinished" not in pull.proxy.log


def test_a_client_that_comes_during_a_stop_is_told_so(pull: Pull) -> None:
    """Its pull would not end; and a monitor that asks meanwhile gets its answer."""
    pull.stop()
    with pytest.raises(ConnectRefusedError) as refused:
        pull.proxy.client(source=STRANGER).get(FAULT + pull.next)
    assert refused.value.status == 503
    health = pull.proxy.local("/healthz")
    assert health.status == 503
    assert b'"code": "draining"' in health.body
    pull.finish()
    assert pull.proxy.daemon.wait(20) == 0


def test_a_mirror_takes_no_new_pulls_during_a_stop(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Its clients go elsewhere on a 503, and come again."""
    port = free_port()
    pull = Pull(faults, start_entrepot(drain="50s", mirror=f"127.0.0.1:{port}"))
    pull.stop()
    with closing(http.client.HTTPConnection("127.0.0.1", port, source_address=(STRANGER, 0))) as to:
        to.request("GET", "/v2/")
        answer = to.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        assert b"stopping" in answer.read()
    pull.finish()
    assert pull.proxy.daemon.wait(20) == 0


def test_a_kept_connection_is_answered_once_more(pull: Pull) -> None:
    """What a client asks on a connection that it has is answered, and ends that connection."""
    with closing(pull.client.connection(FAULT)) as kept:
        kept.request("GET", pull.next)
        before = kept.getresponse()
        assert (before.read(), before.headers["Connection"]) == (SMALL, None)
        pull.stop()
        kept.request("GET", pull.next)
        after = kept.getresponse()
        assert (after.read(), after.headers["Connection"]) == (SMALL, "close")
    pull.finish()
    assert pull.proxy.daemon.wait(20) == 0


def test_a_connection_that_was_just_made_gets_its_answer(
    patient: Entrepot, faults: FaultServer
) -> None:
    """A client between CONNECT and its first request is not cut off."""
    path, _ = faults.add_blob("app", SMALL)
    with closing(patient.client().connection(FAULT)) as fresh:
        patient.daemon.signal(signal.SIGTERM)
        await_drain(patient)
        fresh.request("GET", path)
        assert fresh.getresponse().read() == SMALL
    assert patient.daemon.wait(20) == 0


def test_a_request_that_came_while_the_machine_stood_still_gets_its_answer(
    patient: Entrepot, faults: FaultServer
) -> None:
    """The proxy looks at what has come before it decides that a client has paused for too long."""
    path, _ = faults.add_blob("app", SMALL)
    with closing(patient.client().connection(FAULT)) as fresh:
        patient.daemon.signal(signal.SIGTERM)
        await_drain(patient)
        patient.daemon.signal(signal.SIGSTOP)
        fresh.request("GET", path)
        time.sleep(1.1 * PAUSE)
        patient.daemon.signal(signal.SIGCONT)
        assert fresh.getresponse().read() == SMALL
    assert patient.daemon.wait(30) == 0


def test_a_second_signal_ends_it_at_once(pull: Pull) -> None:
    """In order all the same: the exit status is 0, and what came is kept."""
    pull.stop()
    pull.proxy.daemon.signal(signal.SIGTERM)
    assert pull.proxy.daemon.wait(20) == 0
    assert "transfers_unfinished connections=1" in pull.proxy.log
    assert list((pull.proxy.data / "partial").iterdir())


@pytest.mark.parametrize("drain", ["1s", "0"])
def test_a_stop_takes_no_longer_than_is_said(
    start_entrepot: "StartEntrepot", faults: FaultServer, drain: str
) -> None:
    """A transfer that does not end is cut."""
    pull = Pull(faults, start_entrepot(drain=drain))
    assert pull.proxy.terminate(20) == 0
    assert "transfers_unfinished connections=1" in pull.proxy.log
    with pytest.raises((http.client.HTTPException, OSError)):
        pull.stream.read()
    pull.stream.close()


def test_nothing_is_waited_for_where_nothing_is_under_way(patient: Entrepot) -> None:
    """Neither a monitor, whenever it asked, nor connections that are only kept count as a pull."""
    with closing(http.client.HTTPConnection("127.0.0.1", patient.port, timeout=20)) as kept:
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        assert patient.local("/healthz").status == 200
        assert patient.terminate(20) == 0
    assert "transfers_unfinished" not in patient.log


def test_a_push_that_passes_through_ends(patient: Entrepot, faults: FaultServer) -> None:
    """What the registry is being sent is under way too."""
    taken: list[bytes] = []

    def take(exchange: Exchange) -> None:
        taken.append(exchange.read_body())
        exchange.send(201)

    faults.routes["/v2/app/blobs/uploads/1"] = take
    halves, more = (BODY[: 2 * MIB], BODY[2 * MIB :]), threading.Event()

    def body() -> Iterator[bytes]:
        yield halves[0]
        assert more.wait(30)
        yield halves[1]

    def push() -> None:
        size = {"Content-Length": str(len(BODY))}
        url = f"{FAULT}/v2/app/blobs/uploads/1"
        answers.append(patient.client().request("PUT", url, size, body()).status)

    answers: list[int] = []
    pushing = threading.Thread(target=push)
    pushing.start()
    faults.await_request(method="PUT")
    patient.daemon.signal(signal.SIGTERM)
    await_drain(patient)
    more.set()
    pushing.join(30)
    assert (answers, taken) == ([201], [BODY])
    assert patient.daemon.wait(20) == 0


def test_a_tunnel_ends_by_itself_while_bytes_pass(
    start_entrepot: "StartEntrepot", faults: FaultServer, upstreams: Upstreams
) -> None:
    """A client without the CA pulls in a tunnel; one in which nothing happens is not waited for."""
    path, content = faults.add_blob("app", BODY)
    content.gate = Gate(MIB)
    proxy = start_entrepot(drain="50s", only_listed=True)
    with proxy.stranger(upstreams.authority.pem).open("GET", FAULT + path) as stream:
        assert stream.read(MIB) == BODY[:MIB]
        proxy.daemon.signal(signal.SIGTERM)
        await_drain(proxy)
        content.gate.open()
        assert stream.read() == BODY[MIB:]
    assert proxy.daemon.wait(20) == 0


def test_the_end_of_an_answer_gets_to_a_slow_client(patient: Entrepot, faults: FaultServer) -> None:
    """Bytes that are written but not sent are waited for."""
    body = bytes(8 * MIB)  # more than the kernel takes
    faults.routes["/v2/app/tags/list"] = Content(body)
    raw = patient.client().tunnel("fault.example.test")
    with closing(raw):
        raw.sendall(b"GET /v2/app/tags/list HTTP/1.1\r\nHost: fault.example.test\r\n\r\n")
        got = raw.recv(1)
        patient.daemon.signal(signal.SIGTERM)
        await_drain(patient)
        while more := raw.recv(1 << 16):
            got += more
    assert got.partition(b"\r\n\r\n")[2] == body
    assert patient.daemon.wait(20) == 0
