"""The socket: who may speak there, and what no client can do to it."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from entrepot.control.administration import Administration
from entrepot.control.client import address_in, connected
from entrepot.control.control_socket import MOST_BYTES, MOST_CLIENTS, ControlSocket
from entrepot.events.log import Events
from entrepot.storage.store import Store
from entrepot.storage.store_thread import StoreThread
from unit.storage.inventory.world import image, pull
from unit.storage.world import APP

NAME = "registry.example.test/team/app:1"


@contextmanager
def listening(store: Store, events: Events, idle: float = 20) -> Iterator[Path]:
    """Serve a store with one image, as a proxy does."""
    pull(store, APP, image(b"layer"), "1")
    thread = StoreThread(store, events, lambda: 0.0)
    administration = Administration(store, thread.run_from_thread, events)
    control = ControlSocket(store.folder, administration, events, idle)
    control.start()
    try:
        yield store.folder
    finally:
        control.stop()
        thread.close()


@contextmanager
def raw(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client, address_in(folder) as address:
        client.settimeout(20)
        client.connect(address)
        yield client


def answer(client: socket.socket, line: bytes) -> dict[str, Any]:
    client.sendall(line)
    with client.makefile("rb") as lines:
        told: dict[str, Any] = json.loads(lines.readline())
    return told


def images(folder: Path) -> int:
    """How many images there are, as a client is told."""
    with connected(folder) as ask:
        assert ask is not None
        return int(ask({"do": "images"})["totals"]["images"])


def test_requests_are_answered_in_order(store: Store) -> None:
    with listening(store, Events()) as folder, connected(folder) as ask:
        assert ask is not None
        assert (folder / "control.sock").stat().st_mode & 0o777 == 0o600
        assert [ask({"do": do})["ok"] for do in ("images", "what", "evicted_next")] == [
            True,
            False,
            True,
        ]
        assert ask({"do": "remove", "names": [NAME]})["removed"] == [NAME]
        assert ask({"do": "images"})["images"] == []
    assert not (folder / "control.sock").exists()
    with connected(folder) as ask:
        assert ask is None


def test_a_socket_that_a_kill_left_is_replaced(store: Store) -> None:
    with socket.socket(socket.AF_UNIX) as left, address_in(store.folder) as address:
        left.bind(address)
    with connected(store.folder) as ask:
        assert ask is None
    with listening(store, Events()) as folder:
        assert images(folder) == 1


def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """The address of a socket has 108 bytes."""
    folder = tmp_path / ("deep" * 30) / "data"
    folder.parent.mkdir()
    with closing(Store(folder, 10**7)) as store, listening(store, Events()) as folder:
        assert images(folder) == 1


def test_where_it_cannot_be_made_the_proxy_runs_without(store: Store) -> None:
    (store.folder / "control.sock").mkdir()
    events = Events()
    with listening(store, events):
        assert events.counts["control_failed"] == 1


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{\n", b"[" * 9000 + b"\n", b"\xff\xfe\n", b'"' + b"x" * MOST_BYTES + b'"\n'],
    ids=["empty", "half", "deep", "bytes", "long"],
)
def test_a_line_that_is_no_request_is_told_so(store: Store, line: bytes) -> None:
    with listening(store, Events()) as folder:
        with raw(folder) as client:
            told = answer(client, line)
            assert (told["ok"], told["code"]) == (False, "bad_request")
        assert images(folder) == 1


def test_a_client_that_leaves_in_the_middle_is_forgotten(store: Store) -> None:
    """Half a line, no line, or one that does not wait for its answer."""
    with listening(store, Events()) as folder:
        for line in (b'{"do": "ima', b"", b'{"do": "images"}\n'):
            for _ in range(2):
                with raw(folder) as client:
                    client.sendall(line)
        with raw(folder) as client:
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""


def test_clients_are_bounded_and_each_has_its_time(store: Store) -> None:
    """Who says nothing loses its place."""
    with listening(store, Events(), idle=2) as folder, raw(folder) as silent:
        others = [raw(folder) for _ in range(MOST_CLIENTS)]
        clients = [other.__enter__() for other in others]
        try:
            with clients[-1].makefile("rb") as lines:
                assert json.loads(lines.readline())["code"] == "busy"
            assert silent.recv(1) == b""
        finally:
            for other in others:
                other.__exit__(None, None, None)
