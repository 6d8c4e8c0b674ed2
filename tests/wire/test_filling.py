"""A blob that is filled in any order: parts at once, the rest once, and what is kept of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer, Gate
from rig.images import MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("filling", 32 * MIB))
PART = len(BODY) // 16


def part(number: int) -> dict[str, str]:
    return {"Range": f"bytes={number * PART}-{(number + 1) * PART - 1}"}


def sent(faults: FaultServer, path: str) -> int:
    return sum(one.sent for one in faults.of(path=path, method="GET"))


def test_a_footer_does_not_wait_for_the_blob(client: Client, faults: FaultServer) -> None:
    """The rest of it is not even to be had yet."""
    path, content = faults.add_blob("app", BODY)
    content.gate = gate = Gate(60)
    footer = client.get(FAULT + path, {"Range": "bytes=-60"})
    assert (footer.status, footer.body) == (206, BODY[-60:])
    assert footer.headers["Content-Range"].endswith(f"/{len(BODY)}")
    assert footer.headers["Accept-Ranges"] == "bytes"
    gate.open()


def test_sixteen_parts_come_by_sixteen_connections(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """All at once, each byte once, and then the blob is whole and stored."""
    path, content = faults.add_blob("app", BODY)
    content.gate = gate = Gate()

    def get(number: int) -> bytes:
        return entrepot.client().get(FAULT + path, part(number)).body

    def asked() -> int:
        return sum(one.range == part(n)["Range"] for n in range(16) for one in faults.of(path=path))

    with ThreadPoolExecutor(16) as pool:
        bodies = [pool.submit(get, number) for number in range(16)]
        eventually(lambda: asked() == 16, what="sixteen parts are asked for at once")
        gate.open()
        answers = [body.result() for body in bodies]
    assert b"".join(answers) == BODY
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="it is stored")
    assert sent(faults, path) <= 1.01 * len(BODY)
    assert client.get(FAULT + path).cache_status == "entrepot; hit"


def test_what_came_is_known_again_after_kill_9(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Out of order too; what is here is served after one question, the rest fetched once."""
    path, content = faults.add_blob("app", BODY)
    gate = Gate(2 * PART)
    content.gate = gate
    for number in (9, 4):
        assert client.get(FAULT + path, part(number)).body == BODY[number * PART :][:PART]
    entrepot.kill9()
    gate.open()
    content.gate = None
    entrepot.start()
    before = sent(faults, path)
    again = entrepot.client()
    assert again.get(FAULT + path, part(9)).body == BODY[9 * PART :][:PART]
    assert again.get(FAULT + path).body == BODY
    assert sent(faults, path) - before <= len(BODY) - 2 * PART + MIB


def test_filled_as_asked(start_entrepot: "StartEntrepot", faults: FaultServer) -> None:
    """Nothing is fetched that nobody asked for; the whole, when it is asked for, is stored."""
    entrepot = start_entrepot(fill="asked")
    path, _ = faults.add_blob("app", BODY)
    client = entrepot.client()
    for number in (9, 4, 9):
        assert client.get(FAULT + path, part(number)).body == BODY[number * PART :][:PART]
    assert sent(faults, path) <= 2 * PART + MIB
    assert entrepot.terminate() == 0
    entrepot.start()
    again = entrepot.client()
    assert again.get(FAULT + path, part(4)).body == BODY[4 * PART :][:PART]
    assert sent(faults, path) <= 2 * PART + MIB
    assert again.get(FAULT + path).body == BODY
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="it is stored")
    assert sent(faults, path) <= len(BODY) + MIB


def test_a_part_that_cannot_be_had_cuts_its_reader_alone(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Others go on; so does the fetch, once upstream is well."""
    path, content = faults.add_blob("app", BODY)
    gone = part(9)["Range"].removeprefix("bytes=").partition("-")[0]

    def answer(exchange: Exchange) -> None:
        if f"={gone}-" in (exchange.request.range or ""):
            exchange.send(404)
        else:
            content(exchange)

    faults.routes[path] = answer
    assert client.get(FAULT + path, part(0)).body == BODY[:PART]
    assert client.get(FAULT + path, part(12)).body == BODY[12 * PART :][:PART]
    faults.routes[path] = Content(BODY)
    assert client.get(FAULT + path).body == BODY
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="it is stored")


def test_an_upstream_without_ranges_gives_parts_too(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """From the fetch of all, as it comes, by one connection."""
    path, content = faults.add_blob("app", BODY)
    content.ranges = False
    for number in (9, 0):
        answer = client.get(FAULT + path, part(number))
        assert (answer.status, answer.body) == (206, BODY[number * PART :][:PART])
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="it is stored")
    assert sent(faults, path) <= len(BODY) * 1.01 + 2
