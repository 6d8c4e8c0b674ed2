"""What systemd is told, by a socket of its kind."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.app.service_notification import notify_ready, notify_stopping


@pytest.fixture(params=["a file", "abstract"])
def listener(request: pytest.FixtureRequest, folder: Path) -> Iterator[socket.socket]:
    name = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(10)
        listener.bind(f"\0{name}" if request.param == "abstract" else name)
        yield listener


def _environment(listener: socket.socket) -> dict[str, str]:
    name = listener.getsockname()
    return {"NOTIFY_SOCKET": f"@{name[1:].decode()}" if isinstance(name, bytes) else name}


def test_it_is_told_of_a_start_and_of_a_stop(listener: socket.socket) -> None:
    environment = _environment(listener)
    notify_ready(environment, "listening")
    assert listener.recv(1000) == b"READY=1\nSTATUS=listening"
    notify_stopping(environment)
    assert listener.recv(1000).startswith(b"STOPPING=1\n")


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    notify_ready(environment, "listening")
    notify_stopping(environment)
