"""Requests and answers as plain values, and what the body of an answer has to do.

All between the glue and the HTTP client speaks only these: ``entrepot.mitm`` makes a
:class:`Request` of a proxied flow and sends an :class:`Answer` back.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from entrepot.protocol.account import Account
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.network_reach import Reach

Fields = tuple[tuple[str, str], ...]
"""Header fields in the order they came, names as they were spelt."""

API_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
"""Docker's clients take a host for a registry by this field."""


def says_registry(fields: Fields) -> bool:
    """Whether an answer says by that field that it is a registry's."""
    return ", ".join(field_values(fields, API_VERSION[0])).startswith("registry/2.")


_OUR_TOKEN_SECONDS = 60


def field_values(fields: Iterable[tuple[str, str]], name: str) -> list[str]:
    """Every value of the field ``name`` (any case), in order."""
    wanted = name.lower()
    return [value for key, value in fields if key.lower() == wanted]


def said_digest(fields: Fields) -> Digest | None:
    """``Docker-Content-Digest`` of an answer, where it is one that can be verified."""
    try:
        return Digest.parse(", ".join(field_values(fields, "Docker-Content-Digest")))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client, addressed to a registry.

    ``path`` is the raw path without the query, ``query`` the raw query without ``?``.
    """

    method: str
    origin: Origin
    path: str
    query: str = ""
    headers: Fields = field(default=(), repr=False)
    is_awaited: Callable[[], bool] = field(default=lambda: True, repr=False, compare=False)
    """Whether the client is still there."""
    client: str = field(default="", repr=False)
    """The client's IP address."""
    account: Account | None = None
    """As whom the proxy asks upstream for a client that shows no login; None: as the client."""
    without_token: bool = False
    """Whether it came with a token of our own, since none was to be had: it is anonymous."""
    sending: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """Called when it is about to go upstream: who comes after must not take its answer for one
    to a question of their own."""
    reach: Reach | None = None
    """How far it may lead; None: as far as its client's word leads."""
    received: str = field(default="", compare=False)
    """The target as the client spelt it, where another was read out of it (on a mirror)."""
    address: str | None = field(default=None, repr=False)
    """The address of the proxy's own that it came to, if it did (``pull.blobs.addresses``)."""

    def values(self, name: str) -> list[str]:
        """Every value of the header field ``name``."""
        return field_values(self.headers, name)

    def value(self, name: str) -> str | None:
        """The header field ``name`` as one value, or None where it is absent."""
        found = self.values(name)
        return ", ".join(found) if found else None

    @property
    def target(self) -> str:
        """Path and query, as they stand in a request line."""
        return f"{self.path}?{self.query}" if self.query else self.path


CHUNK = 1024 * 1024
"""Bytes handed over at once; 64 KiB was measured at a fifth of the speed."""


class BodyError(Exception):
    """A body ended before it was whole: the transfer must be cut, never closed as complete."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of an open file that will not change, so that ``sendfile`` may send it.

    ``file`` is its descriptor; ``offset`` and ``count`` are bytes.
    """

    file: int
    offset: int
    count: int


class Body(Protocol):
    """Bytes that a client reads at its own pace."""

    @property
    def size(self) -> int | None:
        """How many bytes there will be, or None where nobody knows yet."""

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes, at most ``most``; empty at the end.

        Raises :class:`BodyError` where the rest cannot be had.
        """

    def stretch(self, most: int) -> Stretch | None:
        """Where the next bytes lie, at most ``most``, if that is in a file; they stay unread."""

    def skip(self, count: int) -> None:
        """Go on behind bytes of a stretch that were taken from its file."""

    def close(self) -> None:
        """Let go of what the body holds; twice is harmless."""


class Fetching(Protocol):
    """A fetch from upstream that an answer began, and that may outlive it."""

    received: int
    """Bytes that have come from upstream."""
    retired: asyncio.Event
    """Set when no more will come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets: a status, header fields, and bytes at hand or a body to stream.

    An answer to HEAD has no content; its ``Content-Length`` says what GET would send. ``why`` and
    ``fetching`` are for the records of what was answered (``observe``), never for the client.
    """

    status: int
    headers: Fields = ()
    content: bytes | Body = b""
    why: str = field(default="", compare=False)
    """Why this is the answer, where ``Cache-Status`` does not say it; no secret. Of an error of our
    own it is said in the first line too (``statuses``)."""
    fetching: Fetching | None = field(default=None, repr=False, compare=False)
    """The fetch that it began, whose bytes count as its own."""

    def value(self, name: str) -> str | None:
        """The header field ``name`` as one value, or None where it is absent."""
        found = field_values(self.headers, name)
        return ", ".join(found) if found else None

    def adding(self, *fields: tuple[str, str]) -> "Answer":
        """The same answer with further header fields."""
        return replace(self, headers=(*self.headers, *fields))

    def close(self) -> None:
        """Let go of the body of an answer that is not going to be sent."""
        if not isinstance(self.content, bytes):
            self.content.close()


def error_answer(status: int, code: str, message: str, **detail: str) -> Answer:
    """An error of our own in the form registries give theirs (distribution-spec "Error Codes").

    ``detail`` says it in parts; where there are none, it is the message.
    """
    said = detail or {"reason": message}
    entry: Mapping[str, object] = {"code": code, "message": message, "detail": said}
    content = json.dumps({"errors": [entry]}).encode()
    return Answer(
        status,
        (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            API_VERSION,
        ),
        content,
        why=message,
    )


def upstream_error(status: int, code: str, upstream: Origin, reason: str) -> Answer:
    """An error of our own for what ``upstream`` did, or did not do."""
    message = f"upstream: {upstream}: {reason}"
    return error_answer(status, code, message, upstream=str(upstream), reason=reason)


def json_answer(method: str, document: Mapping[str, object], how: CacheStatus) -> Answer:
    """A registry's answer of our own."""
    content = json.dumps(document).encode()
    headers: Fields = (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(content))),
        API_VERSION,
        how,
    )
    return Answer(200, headers, b"" if method == "HEAD" else content)


def token_answer(method: str, token: str, how: CacheStatus) -> Answer:
    """What a token server answers (distribution's token specification)."""
    document = {"token": token, "access_token": token, "expires_in": _OUR_TOKEN_SECONDS}
    return json_answer(method, document, how)
