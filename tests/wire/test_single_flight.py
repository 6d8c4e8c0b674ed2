"""One upstream fetch for each blob, however many clients ask for it at once (promise 3)."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from rig.client import Answer, Client, basic
from rig.faults import Content, Exchange, FaultServer, Gate, error
from rig.images import MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

pytestmark = pytest.mark.fast

FAULT = "https://fault.example.test"
ALICE = {"Authorization": basic("alice", "wonderland")}
BODY = b"".join(incompressible("single flight", 4 * MIB))


def gated(faults: FaultServer, repository: str = "app", allowed: int = 0) -> tuple[str, Gate]:
    """Serve BODY as far as a gate lets it; the path and the gate."""
    path, content = faults.add_blob(repository, BODY)
    content.gate = Gate(allowed)
    return path, content.gate


def gets(faults: FaultServer, path: str) -> int:
    """How many GETs of a blob were answered with bytes (asking for one byte is a question)."""
    return sum(one.range != "bytes=0-0" for one in faults.of(path=path, method="GET"))


@pytest.mark.parametrize("count", [2, 12])
def test_many_cold_clients_make_one_fetch(
    entrepot: Entrepot, client: Client, faults: FaultServer, count: int
) -> None:
    """Promise 3: one upstream GET, and everybody has the same whole bytes."""
    path, gate = gated(faults, allowed=MIB)
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(client.get, FAULT + path) for _ in range(count)]
        eventually(
            lambda: entrepot.counter("blob_collapsed") == count - 1,
            what="all but one follow",
        )
        gate.open()
        answers = [one.result() for one in asked]
    assert [one.status for one in answers] == [200] * count
    assert all(one.body == BODY for one in answers)
    assert gets(faults, path) == 1


def test_a_burst_at_a_closed_door_makes_one_fetch(client: Client, faults: FaultServer) -> None:
    """Promise 3: those who come before upstream has answered at all wait for that answer."""
    path, content = faults.add_blob("app", BODY)
    content.wait = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.get, FAULT + path) for _ in range(8)]
        faults.await_request(path=path, method="GET")
        faults.await_request(path=path, range="bytes=0-0")
        content.wait.set()
        assert all(one.result().body == BODY for one in asked)
    assert gets(faults, path) == 1


def test_followers_are_told_so(client: Client, faults: FaultServer) -> None:
    """Cache-Status says who fetched and who followed, and bytes flow before the end."""
    path, gate = gated(faults, allowed=MIB)
    with client.open("GET", FAULT + path) as leader:
        with client.open("GET", FAULT + path) as follower:
            assert leader.headers["Cache-Status"] == "entrepot; fwd=miss; stored"
            assert follower.headers["Cache-Status"] == "entrepot; fwd=miss; collapsed"
            assert follower.read(MIB // 2) == BODY[: MIB // 2]
            gate.open()
            assert follower.read() == BODY[MIB // 2 :]
        assert leader.read() == BODY
    client.await_stored()
    assert "hit" in client.head(FAULT + path).cache_status


def test_the_fetch_outlives_the_client_that_began_it(client: Client, faults: FaultServer) -> None:
    """Promise 3: the leader is killed; the follower gets the rest, from the same fetch."""
    path, gate = gated(faults, allowed=MIB)
    leader = client.open("GET", FAULT + path)
    assert leader.read(1000) == BODY[:1000]
    with client.open("GET", FAULT + path) as follower:
        leader.abort()
        gate.open()
        assert follower.read() == BODY
    assert gets(faults, path) == 1


def test_the_fetch_outlives_all_clients(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: with nobody left the blob still comes into the cache."""
    path, gate = gated(faults, allowed=MIB)
    leader = client.open("GET", FAULT + path)
    leader.read(1000)
    leader.abort()
    gate.open()
    eventually(lambda: entrepot.counter("blob_stored") == 1, what="stored")
    answer = client.get(FAULT + path)
    assert (answer.body, "hit" in answer.cache_status) == (BODY, True)
    assert gets(faults, path) == 1


def test_a_client_that_leaves_before_the_answer_does_not_end_the_fetch(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 3: a fetch that has only just been asked for goes on as well."""
    path, gate = gated(faults)
    connection = client.connection(FAULT)
    connection.request("GET", path)
    faults.await_request(path=path, method="GET")
    connection.close()
    gate.open()
    eventually(lambda: entrepot.counter("blob_stored") == 1, what="stored")
    assert gets(faults, path) == 1


def test_a_follower_without_permission_is_refused(client: Client, faults: FaultServer) -> None:
    """Promise 2: a running fetch is no way round upstream's decision."""
    path, gate = gated(faults, allowed=MIB)
    content = faults.routes[path]

    def guarded(exchange: Exchange) -> None:
        if exchange.request.authorization == ALICE["Authorization"]:
            content(exchange)
        else:
            error(403, "DENIED", "not you")(exchange)

    faults.routes[path] = guarded
    with client.open("GET", FAULT + path, ALICE) as leader:
        assert leader.read(1000) == BODY[:1000]
        for headers in ({}, {"Authorization": basic("bob", "builder")}):
            answer = client.get(FAULT + path, headers)
            assert (answer.status, b"not you" in answer.body) == (403, True)
        gate.open()
        assert leader.read() == BODY[1000:]


def test_a_refused_leader_does_not_refuse_for_others(client: Client, faults: FaultServer) -> None:
    """Whoever asked first and was refused, the next one is asked for by itself."""
    path, content = faults.add_blob("app", BODY)
    waiting = Gate()

    def guarded(exchange: Exchange) -> None:
        if exchange.request.authorization == ALICE["Authorization"]:
            content(exchange)
            return
        waiting.take(1)
        error(403, "DENIED", "not you")(exchange)

    faults.routes[path] = guarded
    with ThreadPoolExecutor(2) as pool:
        refused: Future[Answer] = pool.submit(client.get, FAULT + path)
        faults.await_request(path=path, authorization=None)
        allowed = pool.submit(client.get, FAULT + path, ALICE)
        faults.await_request(path=path, authorization=ALICE["Authorization"])
        waiting.open()
        assert (refused.result().status, allowed.result().body == BODY) == (403, True)


def test_a_range_inside_the_growing_file(client: Client, faults: FaultServer) -> None:
    """A follower's Range comes as soon as its bytes do."""
    path, gate = gated(faults, allowed=2 * MIB)
    headers = {"Range": f"bytes={MIB // 2}-{MIB // 2 + 999}"}
    with client.open("GET", FAULT + path) as leader:
        with client.open("GET", FAULT + path, headers) as part:
            assert part.status == 206
            assert part.headers["Content-Range"] == (
                f"bytes {MIB // 2}-{MIB // 2 + 999}/{len(BODY)}"
            )
            assert part.headers["Cache-Status"] == "entrepot; fwd=miss; detail=range"
            assert part.read() == BODY[MIB // 2 : MIB // 2 + 1000]
            gate.open()
        assert leader.read() == BODY
    assert gets(faults, path) == 1


def test_a_range_far_beyond_what_has_come_is_fetched_ahead(
    client: Client, faults: FaultServer
) -> None:
    """A follower that wants the end has it at once, while the fetch of the rest goes on."""
    path, gate = gated(faults, allowed=MIB)
    content = faults.routes[path]
    ahead = Content(BODY)

    def answer(exchange: Exchange) -> None:
        (content if exchange.request.range is None else ahead)(exchange)

    faults.routes[path] = answer
    with client.open("GET", FAULT + path) as leader:
        leader.read(1000)
        with client.open("GET", FAULT + path, {"Range": "bytes=-500"}) as follower:
            assert follower.status == 206
            assert follower.read() == BODY[-500:]
            gate.open()
        assert leader.read() == BODY[1000:]
    assert sum(one.sent for one in faults.of(path=path, method="GET")) <= len(BODY) + 64 * 1024


def test_followers_in_another_repository_ask_for_themselves(
    client: Client, faults: FaultServer
) -> None:
    """Promise 2: a fetch for one repository is followed from another only where it has it."""
    path, gate = gated(faults, "one", allowed=MIB)
    digest = path.rpartition("/")[2]
    faults.routes[f"/v2/two/blobs/{digest}"] = Content(BODY, digest=digest)
    with client.open("GET", FAULT + path) as leader, ThreadPoolExecutor(1) as pool:
        leader.read(1000)
        assert client.get(f"{FAULT}/v2/three/blobs/{digest}").status == 404
        follower = pool.submit(client.get, f"{FAULT}/v2/two/blobs/{digest}")
        faults.await_request(path=f"/v2/two/blobs/{digest}", range="bytes=0-0")
        gate.open()
        assert leader.read() == BODY[1000:]
        assert follower.result().body == BODY
    assert gets(faults, f"/v2/two/blobs/{digest}") == 0


def test_different_blobs_are_fetched_side_by_side(client: Client, faults: FaultServer) -> None:
    """One blob that stalls holds nobody else's."""
    slow, gate = gated(faults, allowed=MIB)
    quick, _ = faults.add_blob("app", b"quick")
    with client.open("GET", FAULT + slow) as stalled:
        assert client.get(FAULT + quick).body == b"quick"
        gate.open()
        assert stalled.read() == BODY
