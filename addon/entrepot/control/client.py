"""The other end of the control socket: a request asked, its answer given back.

Few imports: most commands need no more than this.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

NAME = "control.sock"
_PATIENCE_SECONDS = 600.0
"""For one answer: a removal of everything takes some minutes."""

Ask: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives the answer to a request. Raises OSError."""


@contextmanager
def address_in(folder: Path) -> Iterator[str]:
    """The socket's address; by a descriptor, since a path may be longer than an address can."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


@contextmanager
def connected(folder: Path) -> Iterator[Ask | None]:
    """How to ask the proxy that has ``folder``; None where none does. Raises OSError."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.settimeout(_PATIENCE_SECONDS)
        try:
            with address_in(folder) as address:
                client.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
            return
        lines = stack.enter_context(client.makefile("rb"))

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            client.sendall(json.dumps(request).encode() + b"\n")
            line = lines.readline()
            if not line.endswith(b"\n"):
                raise ConnectionResetError("the proxy ended before it answered")
            answer: dict[str, Any] = json.loads(line)
            return answer

        yield ask
