"""What tests of the HTTP client ask of servers on loopback, and how it ends."""

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from rig.faults import Exchange

NAME, OTHER_NAME = "registry.example.test", "cdn.example.test"
SECRET = "secret-signature"  # noqa: S105 what no error may say
SENT: Fields = (
    ("Authorization", "Bearer token"),
    ("Cookie", "session=1"),
    ("X-Unknown", "1"),
    ("Accept", "a/b"),
    ("Accept", "c/d"),
    ("User-Agent", "docker"),
    ("Range", "bytes=5-"),
    ("Accept-Encoding", "identity"),
)


def target(path: str, scheme: str = "http", host: str = NAME) -> Target:
    return Target(Origin(scheme, host, 443 if scheme == "https" else 80), path)


def get(upstream: HttpClient, path: str, *fields: tuple[str, str]) -> tuple[int, bytes]:
    with upstream.send("GET", target(path), fields, SendOptions(Follow.ANY)) as reply:
        return reply.status, reply.read_all(1 << 20)


def failure(upstream: HttpClient, where: Target, method: str = "GET") -> str:
    """The text of the error that a request ends in."""
    with (
        pytest.raises(UpstreamError) as caught,
        upstream.send(method, where, SENT, SendOptions(Follow.ANY)) as reply,
    ):
        reply.read_all(1 << 30)
    return str(caught.value)


def cut_before_the_head(exchange: Exchange) -> None:
    exchange.cut(reset=False)


class Connections:
    """Answers with the number of the connection that a request came by."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.ports: list[int] = []

    def __call__(self, exchange: Exchange) -> None:
        self.ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        exchange.send(200, self.body)
