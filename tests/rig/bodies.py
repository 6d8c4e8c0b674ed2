"""Reading bodies to their end, or to where they must break off."""

import asyncio
from collections.abc import Callable

from entrepot.http_client.client import HttpClient
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Body, BodyError
from rig.faults import FaultServer, Handler


def send(upstream: HttpClient, server: FaultServer, handler: Handler) -> Reply:
    server.routes["/a"] = handler
    target = Target(Origin("http", "127.0.0.1", server.port), "/a")
    return upstream.send("GET", target, (), SendOptions(Follow.NO))


async def in_thread(function: Callable[[], bytes]) -> bytes:
    return await asyncio.to_thread(function)


async def drain(body: Body) -> list[bytes]:
    """Every piece that the body gives."""
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    body.close()
    return pieces


async def drain_broken(body: Body) -> bytes:
    """What the body gave before it broke off, as it must."""
    given = b""
    while True:
        try:
            piece = await body.read()
        except BodyError:
            break
        assert piece, "it ended as if it were whole"
        given += piece
    body.close()
    return given


async def read(body: Body) -> bytes:
    given = b""
    while piece := await body.read():
        given += piece
    body.close()
    return given


async def read_broken(body: Body) -> tuple[bytes, BodyError]:
    """What was given, and the error that must have ended it."""
    given = b""
    while True:
        try:
            piece = await body.read()
        except BodyError as error:
            body.close()
            return given, error
        assert piece, "it ended as if it were whole"
        given += piece
