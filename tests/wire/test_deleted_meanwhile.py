"""A blob that is deleted through the proxy while it is being fetched from the same repository."""

import pytest

from rig.client import Client
from rig.faults import Content, Exchange, FaultServer, Gate, error
from rig.images import MIB, incompressible
from rig.process import eventually
from rig.proxy import Entrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("deleted meanwhile", 2 * MIB))


class Deletable:
    """Serves a blob until a DELETE was accepted."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._there = True

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.method == "DELETE":
            self._there = False
            exchange.send(202)
        elif self._there:
            self._content(exchange)
        else:
            error(404, "BLOB_UNKNOWN", "deleted")(exchange)


@pytest.fixture
def gated(faults: FaultServer) -> tuple[str, Gate]:
    """The URL of a deletable blob of which upstream sends half until the gate opens."""
    path, content = faults.add_blob("app", BODY)
    content.gate = Gate(MIB)
    faults.routes[path] = Deletable(content)
    return FAULT + path, content.gate


def test_a_running_fetch_of_it_takes_no_followers(client: Client, gated: tuple[str, Gate]) -> None:
    """Promise 2: who asks after the DELETE gets upstream's 404, not the rest of a fetch."""
    url, gate = gated
    with client.open("GET", url) as leader:
        assert leader.read_some()
        assert client.request("DELETE", url).status == 202
        try:
            with client.open("GET", url) as late:
                assert late.status == 404
        finally:
            gate.open()


def test_what_was_fetched_of_it_is_not_served(
    entrepot: Entrepot, client: Client, gated: tuple[str, Gate]
) -> None:
    """Promise 2: the end of that fetch does not bring a deleted blob back."""
    url, gate = gated
    with client.open("GET", url) as leader:
        assert leader.read_some()
        assert client.request("DELETE", url).status == 202
        gate.open()
        leader.read()
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    assert client.get(url).status == 404
