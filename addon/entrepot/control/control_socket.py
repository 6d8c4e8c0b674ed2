"""The control socket: `control.sock` in the data folder, for its owner and root.

Requests and answers are JSON, a line each, in order, as many as a client likes. It has threads of
its own, few and bounded, as are a line and the time that a client may think: so no client of it
holds up the proxy, or another for long.
"""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial as bind
from pathlib import Path

from entrepot.control.administration import Administration, failure
from entrepot.control.client import NAME, address_in
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.storage.errors import storage_reason

MOST_BYTES = 256 * 1024
"""What a request's line may have."""
MOST_CLIENTS = 8
IDLE_SECONDS = 60.0
_LOW_PRIORITY = 5
"""A quarter of a busy core: pulls come first, and somebody waits for the answer."""
_PAUSE_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")


class ControlSocket:
    """Listens from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        folder: Path,
        administration: Administration,
        events: Events,
        idle: float = IDLE_SECONDS,
    ) -> None:
        """``idle`` are the seconds that a client may take for a line, either way."""
        self._folder = folder
        self._administration = administration
        self._events = events
        self._idle = idle
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen; where that cannot be, the proxy runs without, and a line says so."""
        try:
            listener = self._listener = self._listen()
        except OSError as error:
            self._events.log(Event.CONTROL_FAILED, reason=storage_reason(error))
        else:
            _spawn("control", lambda: self._accept_all(listener))

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address_in(self._folder) as address:
                (self._folder / NAME).unlink(missing_ok=True)  # of a process that was killed
                listener.bind(address)
                (self._folder / NAME).chmod(0o600)
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    def stop(self) -> None:
        """Take no more requests; the answer to one that runs is not waited for."""
        if self._listener is None:
            return
        self._stopped.set()
        with contextlib.suppress(OSError):
            (self._folder / NAME).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # stopped; or there are no descriptors left
                if self._stopped.wait(_PAUSE_SECONDS):
                    return
                continue
            client.settimeout(self._idle)
            with self._lock:
                full = len(self._clients) >= MOST_CLIENTS
                if not full:
                    self._clients.add(client)
            if full:
                with client, contextlib.suppress(OSError):
                    _say(client, failure("busy", f"{MOST_CLIENTS} clients are served already"))
            else:
                _spawn("control-client", bind(self._serve, client))

    def _serve(self, client: socket.socket) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
        try:
            with client, contextlib.suppress(OSError, RuntimeError):  # left; or the proxy stops
                if self._is_allowed(client):
                    self._answer_all(client)
        finally:
            with self._lock:
                self._clients.discard(client)
                last = not self._clients
            if last:
                self._administration.end()

    def _is_allowed(self, client: socket.socket) -> bool:
        """Whether the other end is our own user or root."""
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(raw)
        if user in (0, os.geteuid()):
            return True
        self._events.log_once(Event.CONTROL_REFUSED, reason=f"user {user} is not its owner")
        _say(client, failure("refused", "only the user of the proxy, and root, may ask"))
        return False

    def _answer_all(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            while line := lines.readline(MOST_BYTES + 1):
                if len(line) > MOST_BYTES:
                    _say(client, failure("bad_request", f"a line has at most {MOST_BYTES} bytes"))
                    return
                if not line.endswith(b"\n"):
                    return  # half a line: its client left
                _say(client, self._answer(line))

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return failure("bad_request", "a line that is no JSON")
        return self._administration.answer(request)


def _spawn(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def _say(client: socket.socket, answer: dict[str, object]) -> None:
    client.sendall(json.dumps(answer).encode() + b"\n")
