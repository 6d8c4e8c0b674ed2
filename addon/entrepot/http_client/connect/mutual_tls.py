"""Mutual TLS: whether a server asks its clients for a certificate (RFC 8446 section 4.3.2).

Whoever ends a client's TLS has not the client's key, so it cannot show the client's certificate to
the server, required or not. ``ssl`` does not say that it was asked for one; what shows it is the
type of a message of the handshake, by ``SSLContext._msg_callback`` (in CPython since 3.8, not
documented). The callback is called for each TLS record, so such a context is for handshakes only.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_HANDSHAKE = 22
_CERTIFICATE_REQUEST = 13
"""RFC 8446 appendices B.1 and B.3, the same in TLS 1.2."""


class CertificateRequests:
    """Sees the requests in the handshakes of a context, on the thread that makes one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        context._msg_callback = self._note  # type: ignore[attr-defined] # noqa: SLF001 see above
        self._here = threading.local()

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Watch this thread; what is yielded says whether there was one."""
        self._here.seen = False
        yield lambda: bool(self._here.seen)

    def _note(
        self, _: Any, direction: str, __: Any, content: int, message: int, ___: bytes
    ) -> None:
        if direction == "read" and (content, message) == (_HANDSHAKE, _CERTIFICATE_REQUEST):
            self._here.seen = True
