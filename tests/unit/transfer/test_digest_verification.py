"""Bodies that are verified on their way: none ends whole whose bytes are not the digest's."""

import asyncio
import os
from pathlib import Path

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.protocol.identifiers import Digest
from entrepot.protocol.messages import BodyError
from entrepot.transfer.bodies import ContinuedBody, FileBody, ReplyBody
from entrepot.transfer.digest_verification import VerifiedBody
from entrepot.transfer.errors import StorageLostError
from rig.bodies import drain, drain_broken, in_thread, send
from rig.faults import Content, FaultServer

DATA = bytes(range(256)) * 8000  # 2,048,000 bytes: more than one chunk


@pytest.mark.parametrize("content", [DATA, b"x", b""])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_verified_bytes_of_upstream_are_given(
    upstream: HttpClient, server: FaultServer, content: bytes, algorithm: str
) -> None:
    """Where the digest fits, all of it arrives."""
    reply = send(upstream, server, Content(content))
    body = VerifiedBody(ReplyBody(reply, in_thread), Digest.of(content, algorithm))
    assert body.size == len(content)
    assert b"".join(asyncio.run(drain(body))) == content


@pytest.mark.parametrize("content", [DATA, b"x"])
@pytest.mark.parametrize("chunked", [False, True])
def test_other_bytes_never_end_whole(
    upstream: HttpClient,
    server: FaultServer,
    content: bytes,
    chunked: bool,  # noqa: FBT001 both framings
) -> None:
    """The last byte is held back until the hash fits, and it does not."""
    reply = send(upstream, server, Content(content, chunked=chunked))
    body = VerifiedBody(ReplyBody(reply, in_thread), Digest.of(b"other"))
    assert asyncio.run(drain_broken(body)) == content[:-1]


def test_an_empty_body_for_a_digest_of_more_is_cut(
    upstream: HttpClient, server: FaultServer
) -> None:
    """No bytes are other bytes too."""
    reply = send(upstream, server, Content(b""))
    body = VerifiedBody(ReplyBody(reply, in_thread), Digest.of(b"more"))
    assert asyncio.run(drain_broken(body)) == b""


def test_what_was_read_before_comes_first(upstream: HttpClient, server: FaultServer) -> None:
    """The head of the body is given and hashed as if it came now."""
    reply = send(upstream, server, Content(DATA))
    head = reply.read_all(1000)
    body = VerifiedBody(ReplyBody(reply, in_thread, head=head), Digest.of(DATA))
    assert b"".join(asyncio.run(drain(body))) == DATA


class _LostAfter:
    """A download whose disk gives up after so many bytes."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def readable_end(self, offset: int, stop: int | None, *, early: bool) -> int:  # noqa: ARG002 a Growth's
        if offset >= self._count:
            raise StorageLostError("the disk is full")
        return self._count

    def add_follower(self, follower: int, *, early: bool) -> None:
        pass

    def remove_follower(self, follower: int) -> None:
        pass


@pytest.mark.parametrize("right", [True, False])
def test_the_rest_of_a_download_is_verified_where_it_comes_from_elsewhere(
    tmp_path: Path,
    right: bool,  # noqa: FBT001 a case
) -> None:
    """Promise 1: the last byte waits for the hash of all, what was given before included."""
    content = b"0123456789" * 100
    rest, path = tmp_path / "rest", tmp_path / "part"
    path.write_bytes(content[:400])
    rest.write_bytes(content[400:] if right else content[400:-1] + b"x")

    async def resume(given: int) -> FileBody:
        assert given == 400
        return FileBody(os.open(rest, os.O_RDONLY), 0, 600)

    async def read() -> bytes:
        first = FileBody(os.open(path, os.O_RDONLY), 0, 1000, _LostAfter(400))
        body, given = ContinuedBody(first, resume, Digest.of(content)), b""
        try:
            while data := await body.read():
                given += data
        except BodyError:
            return given
        return given

    assert asyncio.run(read()) == (content if right else content[:999])
