"""A blocking call to upstream, and how it is cancelled from another thread.

A thread that waits on a socket wakes for nothing but that socket. So the connection that a call
is using is known to the call (``pools`` and ``response`` say so, on the call's own thread), and who
ends the call shuts that connection down. It is known only while it is the call's alone: once it
is back in its pool, another call may be using it.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from urllib3.util.ssltransport import SSLTransport

from entrepot.protocol.identifiers import Origin

_here = threading.local()


class AbortedError(OSError):
    """The call was ended before it could go on."""

    def __init__(self) -> None:
        super().__init__("nobody waits for it any more")


class Call:
    """One call: to whom, for whom, since when (``began``), and the connection that it uses."""

    def __init__(
        self,
        origin: Origin | None = None,
        client: str = "",
        is_awaited: Callable[[], bool] = lambda: True,
        began: float = 0.0,
    ) -> None:
        self.origin = origin
        self.client = client
        self.is_awaited = is_awaited
        self.began = began
        self.is_aborted = False
        self._lock = threading.Lock()
        self._connection: socket.socket | SSLTransport | None = None

    def uses(self, connection: "socket.socket | SSLTransport | None") -> None:
        """Note on which connection the call waits now; None: on none that is its alone.

        Raises :class:`AbortedError` where the call was ended.
        """
        with self._lock:
            self._connection = connection
            if self.is_aborted and connection is not None:
                raise AbortedError

    def abort(self) -> None:
        """End it: its thread wakes, and can begin nothing more. From any thread."""
        with self._lock:
            self.is_aborted = True
            if self._connection is not None:
                _shut(self._connection)


@contextlib.contextmanager
def making(call: Call) -> Iterator[None]:
    """Make ``call`` the one of this thread, so that ending it ends what the thread waits for."""
    _here.call = call
    try:
        yield
    finally:
        call.uses(None)
        _here.call = None


def uses(connection: "socket.socket | SSLTransport | None") -> None:
    """Note on which connection the call of this thread waits from now on, if it makes one.

    None where another call may have that connection. Raises :class:`AbortedError`.
    """
    call: Call | None = getattr(_here, "call", None)
    if call is not None:
        call.uses(connection)


def is_aborted() -> bool:
    """Whether the call of this thread was ended: what befalls it then is not its host's doing."""
    call: Call | None = getattr(_here, "call", None)
    return call is not None and call.is_aborted


def _shut(connection: "socket.socket | SSLTransport") -> None:
    while isinstance(connection, SSLTransport):  # TLS, perhaps in a tunnel that is TLS too
        connection = connection.socket
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
