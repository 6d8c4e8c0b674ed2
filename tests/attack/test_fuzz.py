"""Requests mutated at every level: no crash, no hang, and nothing that upstream would refuse.

Two layers: parsers in this process, and raw bytes at the socket of a proxy. The oracle at the
socket is a strict upstream that is sent the same bytes: whatever it refuses must not come from
the cache. `--fuzz-requests N` says how many requests the socket gets (200 in the normal suite),
and the parsers thirty times as many.
"""

import contextlib
import json
import random
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.auth import token_requests
from entrepot.config.units import parse_duration, parse_size
from entrepot.mitm.layers.request_head import refusal
from entrepot.protocol import manifests
from entrepot.protocol.headers import (
    ContentRange,
    etag_matches,
    normalise_accept,
    parse_challenges,
)
from entrepot.protocol.identifiers import Digest, HostPort, Origin, parse_host, parse_reference
from entrepot.protocol.ranges.byte_ranges import RangeSet
from entrepot.protocol.routes import parse_endpoint
from rig.client import DirectClient
from rig.faults import Content, Exchange, FaultServer, error
from rig.process import eventually

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "fault.example.test"
LOGIN = "Basic YWxpY2U6d29uZGVybGFuZA=="
AFTER = f"GET /v2/ HTTP/1.1\r\nHost: {FAULT}\r\nConnection: close\r\n\r\n".encode()
PARSERS: tuple[Callable[[str], object], ...] = (
    RangeSet.parse,
    ContentRange.parse,
    lambda text: normalise_accept([text]),
    lambda text: parse_challenges([text]),
    lambda text: etag_matches(text, '"x"'),
    lambda text: parse_endpoint("GET", text, ""),
    lambda text: parse_endpoint("GET", f"/v2/{text}", text),
    lambda text: token_requests.parse_issued(text.encode("utf-8", "surrogatepass")),
    lambda text: manifests.listed_digests(text.encode("utf-8", "surrogatepass")),
    lambda text: refusal(text.encode("utf-8", "surrogatepass")),
    Digest.parse,
    HostPort.parse,
    Origin.parse,
    parse_host,
    parse_reference,
    parse_size,
    parse_duration,
)
PIECES = (
    *("GET", "HEAD", "get", "POST", " ", "\t", "\r", "\n", "\r\n", "\r\n\r\n", "\0", ":", ",", ";"),
    *("/v2/", "/blobs/", "/manifests/", "app", "..", "%2e", "%2f", "//", "?", "#", "ns=x", "\\"),
    *("sha256:", "SHA256:", "a" * 64, "0" * 64, "sha512:", "latest", "HTTP/1.1", "HTTP/1.0", "é"),
    *("Host: ", "Range: ", "bytes=0-", "bytes=-5", "bytes 0-9/10", "*/*", ";q=0", '"', "W/", '\\"'),
    *("Content-Length: ", "Transfer-Encoding: chunked", "5", "-1", "9" * 30, "Authorization: "),
    *("Bearer ", 'realm="', "Basic ", "=", "{", "}", "[", "]", '"token":', '"digest":', "1e999"),
)
BYTES = [piece.encode() for piece in PIECES]
TEXTS = st.text(max_size=80) | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)


@pytest.fixture
def requests(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("fuzz_requests"))


def test_no_parser_raises_but_value_error(requests: int) -> None:
    """Whatever is in a field, a parser gives a value or a ValueError."""

    @settings(
        max_examples=max(200, requests // len(PARSERS) * 30),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(TEXTS)
    def parse(text: str) -> None:
        for parser in PARSERS:
            with contextlib.suppress(ValueError):
                parser(text)

    parse()


@pytest.mark.parametrize("piece", PIECES)
def test_long_input_takes_linear_time(piece: str) -> None:
    """Repetition is no way to keep a parser busy: a catastrophe would never end."""
    for parser in PARSERS:
        for text in (piece * 20_000, piece * 20_000 + "\x01"):
            with contextlib.suppress(ValueError):
                parser(text)


# At the socket


def guarded(content: Content) -> Callable[[Exchange], None]:
    """Serve to one login, and only what is asked for in so many words."""

    def answer(exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") == LOGIN:
            content(exchange)
        else:
            told = {"WWW-Authenticate": 'Basic realm="x"'}
            error(401, "UNAUTHORIZED", "who are you?", told)(exchange)

    return answer


class Mutations:
    """Makes raw requests out of valid ones; the same seed makes the same ones."""

    def __init__(self, seed: int, paths: list[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311 no secret
        self._paths = paths

    def request(self) -> bytes:
        """One request, mutated not at all, a little or a lot."""
        raw = self._valid()
        for _ in range(self._random.choice((0, 1, 1, 2, 3, 8))):
            raw = self._mutated(raw)
        return raw

    def _valid(self) -> bytes:
        choose = self._random.choice
        lines = [f"{choose(('GET', 'GET', 'HEAD'))} {choose(self._paths)} HTTP/1.1"]
        lines.append(f"Host: {FAULT}")
        fields = (
            f"Authorization: {LOGIN}",
            "Authorization: Basic Ym9iOmJ1aWxkZXI=",
            "Range: bytes=0-3",
            "Range: bytes=3-5,0-1,-2",
            "Accept: application/vnd.oci.image.manifest.v1+json",
            'If-None-Match: "x"',
            "Accept-Encoding: gzip",
            "Connection: close",
            "Content-Length: 0",
        )
        lines += self._random.sample(fields, self._random.randrange(4))
        return "\r\n".join([*lines, "", ""]).encode()

    def _mutated(self, raw: bytes) -> bytes:
        at = self._random.randrange(len(raw) + 1)
        until = min(len(raw), at + self._random.choice((0, 1, 1, 4, 20)))
        new = self._random.choice(
            (b"", self._random.choice(BYTES), self._random.randbytes(1), raw[at:until] * 2)
        )
        return raw[:at] + new + raw[until:]


def spoken(open_: Callable[[], ssl.SSLSocket], raw: bytes) -> bytes:
    """Send a request and one that ends the connection; all that comes back."""
    received = b""
    try:
        with open_() as tls:
            tls.settimeout(30)
            tls.sendall(raw + AFTER)
            while more := tls.recv(1 << 16):
                received += more
    except TimeoutError:
        pytest.fail(f"neither an answer nor an end: {raw!r}")
    except OSError:
        pass
    return received


def test_no_request_gets_what_upstream_would_refuse(
    start_entrepot: "StartEntrepot", faults: FaultServer, requests: int
) -> None:
    """Promise 2: each mutated request is answered or ended, and content only to whom it is due."""
    entrepot = start_entrepot(idle="2s")  # for those that announce a body that never comes
    client = entrepot.client()
    paths = _private_content(faults)
    for path in paths:
        assert client.get(f"https://{FAULT}{path}", {"Authorization": LOGIN}).status == 200
    eventually(lambda: entrepot.log.count("blob_stored digest=") >= 2, what="stored")
    direct = DirectClient(faults.port, _anybody())

    def attack(seed: int) -> None:
        mutations = Mutations(seed, paths)
        for _ in range(ROUND):
            raw = mutations.request()
            answer = spoken(lambda: client.tunnel(FAULT), raw)
            if any(mark in answer for mark in MARKS):
                theirs = spoken(lambda: direct.tunnel(FAULT), raw)
                assert theirs[9:12] in (b"200", b"206", b"304"), raw

    with ThreadPoolExecutor(8) as pool:
        for first in range(0, requests, 8 * ROUND):
            list(pool.map(attack, range(first, min(requests, first + 8 * ROUND), ROUND)))
            faults.requests.clear()
            assert entrepot.local("/healthz").status == 200
    assert "Traceback" not in entrepot.log


ROUND = 25
MARKS = (b"a secret blob", b"another one", b"schemaVersion")
"""What the content that is guarded has in it."""


def _private_content(faults: FaultServer) -> list[str]:
    """Blobs and a manifest for one login only; their paths."""
    paths = []
    for content in (MARKS[0], MARKS[1] * 1000):
        path, handler = faults.add_blob("app", content)
        faults.routes[path] = guarded(handler)
        paths.append(path)
    body = json.dumps({"schemaVersion": 2, "layers": []}).encode()
    served = Content(body, "application/vnd.oci.image.manifest.v1+json", str(Digest.of(body)))
    for reference in ("latest", str(Digest.of(body))):
        paths.append(f"/v2/app/manifests/{reference}")
        faults.routes[paths[-1]] = guarded(served)
    return paths


def _anybody() -> ssl.SSLContext:
    """Trust whoever answers: it is our own server, asked directly."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
