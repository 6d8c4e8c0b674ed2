"""Sessions: browsers that have shown the token, known by a cookie; in memory, until a restart."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from entrepot.bounded_map import BoundedMap

COOKIE = "entrepot_session"
IDLE_SECONDS = 12 * 3600.0
_LONGEST_SECONDS = 7 * 86400.0
_MOST = 100


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; ``csrf`` is what the page sends with each change."""

    client: str
    csrf: str
    began: float

    def owns(self, shown: str) -> bool:
        """Whether a request comes from a page of this session."""
        return hmac.compare_digest(shown.encode(), self.csrf.encode())


class Sessions:
    """The sessions by a hash of their cookies, so that none can be read out of memory or a log."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` never jumps."""
        self._clock = clock
        self._lock = threading.Lock()
        self._known: BoundedMap[bytes, tuple[Session, float]] = BoundedMap(_MOST)

    def begin(self, client: str) -> str:
        """Begin one; the value of its cookie."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock()
        session = Session(client, secrets.token_urlsafe(24), now)
        with self._lock:
            self._known.put(_key(cookie), (session, now))
        return cookie

    def of(self, cookie: str) -> Session | None:
        """The session of a cookie, which is used by that; None where there is none any more."""
        key, now = _key(cookie), self._clock()
        with self._lock:
            session, used = self._known.get(key, (None, 0.0))
            if session is None:
                return None
            if now >= min(used + IDLE_SECONDS, session.began + _LONGEST_SECONDS):
                self._known.pop(key)
                return None
            self._known.put(key, (session, now))
            return session

    def end(self, cookie: str) -> None:
        """Sign out."""
        with self._lock:
            self._known.pop(_key(cookie))


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
