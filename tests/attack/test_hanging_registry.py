"""A registry that accepts and never answers: it costs its own clients time, and nobody else any."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer
from rig.images import Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot

HANGING = "https://fault.example.test"
OTHER = "https://fault-cdn.example.test"
HERE = "127.0.0.1"
REQUESTS = 160
PROMPT = 20.0
"""Seconds; a manifest takes milliseconds, a place behind 160 that hang more than a minute."""


class Hang:
    """Lets every request below ``/v2/hang/`` wait until it is ended; counts how they ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.cut = 0

    def __call__(self, exchange: Exchange) -> None:
        connection = exchange._handler.connection  # noqa: SLF001 the rig hides it
        connection.settimeout(0.2)
        while not self.ended.is_set():
            try:
                if not connection.recv(1):
                    self.cut += 1
                    break
            except TimeoutError:
                continue
            except OSError:
                self.cut += 1
                break
        exchange.cut()


@pytest.fixture
def image(images: ImageFactory) -> Image:
    return images.image("beside one that hangs")


@pytest.fixture
def hang(faults: FaultServer, image: Image) -> Iterator[Hang]:
    """The registries: one host serves the image, the other the same and what hangs."""
    hang = Hang()
    faults.publish(image, "app", "1")
    routes = faults.routes

    def answer(exchange: Exchange) -> None:
        path = exchange.request.path
        hangs = path.startswith("/v2/hang/")
        (hang if hangs else routes.get(path, routes["/v2/"]))(exchange)

    faults.instead = answer
    yield hang
    hang.ended.set()


@contextmanager
def waiting(client: Client, count: int, tag: str) -> Iterator[dict[str, HTTPConnection]]:
    """So many requests of a client, each for another tag that hangs; by what they ask for."""
    with ExitStack() as stack:
        connections = {}
        for number in range(count):
            connection = stack.enter_context(closing(client.connection(HANGING)))
            connections[f"/v2/hang/manifests/{tag}-{number}"] = connection
            connection.request("GET", f"/v2/hang/manifests/{tag}-{number}")
        yield connections


def reached(faults: FaultServer) -> list[str]:
    """What of it the registry was asked for."""
    return [seen.path for seen in list(faults.requests) if seen.path.startswith("/v2/hang/")]


def leave(entrepot: Entrepot, connections: list[HTTPConnection]) -> None:
    """Leave, and wait until the proxy has noticed."""
    before = open_descriptors(entrepot)
    for connection in connections:
        connection.close()
    eventually(
        lambda: open_descriptors(entrepot) <= before - len(connections),
        what="noticed",
    )


def open_descriptors(entrepot: Entrepot) -> int:
    return len(list(Path(f"/proc/{entrepot.pid}/fd").iterdir()))


def test_others_are_answered_meanwhile(
    entrepot: Entrepot, faults: FaultServer, hang: Hang, image: Image
) -> None:
    """Promise 8, for the same client and for others; who leaves gives its place back."""
    pull = entrepot.client(source=HERE, timeout=PROMPT)
    other = entrepot.client(source="127.0.0.9", timeout=PROMPT)
    cached, by_digest = f"{OTHER}/v2/app/manifests/1", f"/v2/app/manifests/{image.digest}"
    assert pull.manifest(cached).status == 200
    with waiting(pull, REQUESTS, "one") as one:
        eventually(lambda: len(reached(faults)) >= 16, what="they hang")
        assert pull.manifest(cached).cache_status == "entrepot; hit; detail=revalidated"
        assert pull.manifest(f"{OTHER}/v2/uncached/manifests/1").status == 200
        assert other.manifest(HANGING + by_digest).status == 200, "another client's, of the same"
        with ExitStack() as stack:
            several = [
                stack.enter_context(waiting(entrepot.client(source=source), 20, source))
                for source in (f"127.0.0.{number}" for number in range(2, 9))
            ]
            eventually(lambda: len(reached(faults)) >= 32, what="all places are taken")
            assert pull.manifest(cached).cache_status == "entrepot; hit; detail=revalidated"
            assert other.manifest(f"{OTHER}/v2/uncached/manifests/2").status == 200
            before = reached(faults)
            connections = {path: at for held in (one, *several) for path, at in held.items()}
            # First those whose turn has not come: a place that is given back would be theirs.
            leave(entrepot, [at for path, at in connections.items() if path not in before])
            leave(entrepot, [connections[path] for path in before])
            assert pull.manifest(f"{HANGING}/v2/app/manifests/1").status == 200
            eventually(lambda: hang.cut == 32, what="every place is given back")
            assert reached(faults) == before, "what nobody waits for any more is not asked"
