"""Answers: their length, their coding, and bodies that drip, are read in part, or drained."""

import gzip
import json
import threading
from collections.abc import Callable

import pytest

from entrepot.http_client.client import HttpClient
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions
from entrepot.http_client.response import Reply
from rig.faults import Content, Exchange, FaultServer, Gate, status
from rig.requests import (
    NAME,
    failure,
    get,
    target,
)


@pytest.mark.parametrize("body", [b"no gzip at all", b"", gzip.compress(bytes(2000), mtime=0)])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity", "nonsense"])
def test_what_is_only_marked_as_encoded_comes_as_it_is(
    upstream: HttpClient, plain: FaultServer, body: bytes, coding: str
) -> None:
    """A digest names a layer's own compression, whatever Content-Encoding says."""
    plain.routes = {"/a": status(200, body, {"Content-Encoding": coding})}
    assert get(upstream, "/a") == (200, body)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_what_was_compressed_unasked_is_decoded(
    upstream: HttpClient, plain: FaultServer, coding: str
) -> None:
    """Its length is then unknown, and its head does not speak of a coding any more."""
    text = json.dumps({"layers": list(range(100_000))}).encode()
    sent = gzip.compress(text, mtime=0)
    plain.routes = {"/a": status(200, sent, {"Content-Encoding": coding, "ETag": '"x"'})}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        assert (reply.length, reply.is_delimited) == (None, True)
        assert (reply.value("Content-Encoding"), reply.value("ETag")) == (None, '"x"')
        assert "content-length" not in {name.lower() for name, _ in reply.headers}
        assert reply.read_all(1 << 20) == text


def test_a_compressed_body_that_explodes_comes_in_pieces(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """However much is in it, no more is made of it than was asked for."""
    bomb = gzip.compress(b"{" + bytes(50_000_000), mtime=0)
    plain.routes = {"/a": status(200, bomb, {"Content-Encoding": "gzip"})}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        assert 0 < len(reply.read(1000)) <= 1000
        assert len(reply.read_all(100_000)) == 100_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda sent: sent[:-4], "its gzip body is cut"),
        (lambda sent: sent[:-8] + bytes(8), "its gzip body is damaged"),
        (lambda sent: sent + b"more", "its gzip body is damaged"),
    ],
)
def test_a_compressed_body_that_is_not_whole_is_an_error(
    upstream: HttpClient, plain: FaultServer, change: Callable[[bytes], bytes], why: str
) -> None:
    """It ends like one whose connection broke, not like a whole one."""
    sent = change(gzip.compress(b'{"layers": []}' * 1000, mtime=0))
    plain.routes = {"/a": status(200, sent, {"Content-Encoding": "gzip"})}
    assert failure(upstream, target("/a")) == f"http://{NAME}: {why}"


def test_chunks_count_more_than_a_length(upstream: HttpClient, plain: FaultServer) -> None:
    """Content-Length means nothing beside Transfer-Encoding (RFC 9112 section 6.3)."""

    def both(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange.raw(b"2\r\nok\r\n0\r\n\r\n")

    plain.routes = {"/a": both}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        assert (reply.length, reply.is_delimited, reply.read_all(100)) == (None, True, b"ok")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("7", 7),
        ("0", 0),
        ("-1", None),
        ("+7", None),
        ("7 7", None),
        ("x", None),
        ("9" * 5000, None),
    ],
)
def test_only_a_number_is_a_length(
    upstream: HttpClient, plain: FaultServer, text: str, length: int | None
) -> None:
    """Whatever stands in Content-Length, asking for it is no error."""
    plain.routes = {"/a": status(200, headers={"Content-Length": text})}
    with upstream.send("HEAD", target("/a"), (), SendOptions(Follow.NO)) as reply:
        assert reply.length == length


def test_reading_all_reads_no_more_than_asked(upstream: HttpClient, plain: FaultServer) -> None:
    """A body without an end costs bounded memory."""
    plain.routes = {"/a": Content(bytes(1_000_000))}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) as reply:
        assert len(reply.read_all(300_000)) == 300_000


def test_a_broken_reply_can_be_closed(upstream: HttpClient, plain: FaultServer) -> None:
    """After an error, and twice."""
    plain.routes = {"/a": Content(bytes(100), cut_after=10, reset=False)}
    reply: Reply = upstream.send("GET", target("/a"), (), SendOptions(Follow.NO))
    with pytest.raises(UpstreamError):
        reply.read_all(100)
    reply.close()
    reply.close()


# Bodies that drip


def drips(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Send a byte often enough for any single wait, for at least half a minute."""
    exchange.raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    ended = threading.Event()
    try:
        for _ in range(600):
            exchange.raw(body)
            ended.wait(0.05)
    except OSError:
        exchange.cut()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 600", b"x"),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        (b"Transfer-Encoding: chunked", b"0"),
        (b"Connection: close", b"x"),
    ],
    ids=["length", "chunks", "a chunk's head", "until it closes"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_whole_body_has_a_deadline(
    upstream: HttpClient,
    plain: FaultServer,
    secure: FaultServer,
    scheme: str,
    head: bytes,
    body: bytes,
) -> None:
    """Not only each wait for a part of it: who drips would else have a thread for ever."""
    server = plain if scheme == "http" else secure
    server.routes = {"/a": lambda exchange: drips(exchange, head, body)}
    with (
        upstream.send("GET", target("/a", scheme), (), SendOptions(Follow.NO)) as reply,
        pytest.raises(UpstreamError, match="it stopped answering"),
    ):
        reply.read_all(1 << 20, 0.4)


def test_a_single_read_has_a_deadline(upstream: HttpClient, plain: FaultServer) -> None:
    """The head of a chunk may not drip for longer than a byte may take."""
    chunked = b"Transfer-Encoding: chunked"
    plain.routes = {"/a": lambda exchange: drips(exchange, chunked, b"0")}
    with (
        upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) as reply,
        pytest.raises(UpstreamError, match="it stopped answering"),
    ):
        reply.read(1)


def test_a_slow_body_may_take_its_time(upstream: HttpClient, plain: FaultServer) -> None:
    """A read at a time has no deadline but its own; nor is the next one's shorter."""
    plain.routes = {"/a": lambda exchange: drips(exchange, b"Content-Length: 600", b"x")}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.NO)) as reply:
        assert b"".join(reply.read(1) for _ in range(8)) == b"x" * 8


def test_draining_takes_a_moment_at_most(
    upstream: HttpClient, plain: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that serves again is worth no more; it is closed."""
    monkeypatch.setattr("entrepot.http_client.response._DRAIN_SECONDS", 0.2)
    plain.routes = {"/a": lambda exchange: drips(exchange, b"Content-Length: 600", b"x")}
    reply = upstream.send("GET", target("/a"), (), SendOptions(Follow.NO))
    reply.drain()
    with pytest.raises(UpstreamError):
        reply.read(1)


@pytest.mark.parametrize("chunked", [True, False])
def test_what_has_come_is_read_at_once_and_no_more_is_waited_for(
    upstream: HttpClient, plain: FaultServer, *, chunked: bool
) -> None:
    """A reader down the line gets what there is, in as few turns as can be."""
    body, gate = bytes(range(250)) * 2000, Gate(1000)
    plain.routes = {"/a": Content(body, chunked=chunked, gate=gate)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        got = b""
        while len(got) < 1000:
            got += reply.read_ready(1 << 20)
        assert got == body[:1000]
        gate.open()
        while part := reply.read_ready(1 << 20):
            got += part
        assert got == body


def test_what_came_before_a_break_is_not_lost(upstream: HttpClient, plain: FaultServer) -> None:
    """The break is for who reads on."""
    body = bytes(1000)
    plain.routes = {"/a": Content(body, cut_after=600, reset=False)}
    with upstream.send("GET", target("/a"), (), SendOptions(Follow.ANY)) as reply:
        got = b""
        while len(got) < 600:
            got += reply.read_ready(1 << 20)
        assert got == body[:600]
        with pytest.raises(UpstreamError):
            reply.read_ready(1 << 20)
