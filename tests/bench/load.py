"""The clients: `curl` processes for blobs, one raw connection at a time for small requests.

Both are the same for every peer. curl costs less than a Python client would, which would take from
the two cores what the server needs.
"""

import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rig.images import ANY_MANIFEST
from rig.process import RigError, clean_environment, program

_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Way:
    """How clients reach a peer: as a proxy at `port`, as a server there, or (None) directly.

    `within` are the words before the command of a client that is not where the bench is.
    """

    ca_file: Path
    port: int | None = None
    proxy: bool = False
    host: str = "127.0.0.1"
    within: tuple[str, ...] = ()

    def curl(self) -> list[str]:
        """Return the options of curl that lead there, whatever the name in the URL."""
        trust = ["--cacert", str(self.ca_file)]
        if self.proxy:
            return [*trust, "--proxy", f"http://{self.host}:{self.port}"]
        return [*trust, "--connect-to", f"::{self.host}:{self.port or ''}"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What some clients fetched at once: bytes in all, seconds from first start to last end."""

    seconds: float
    size: int

    @property
    def speed(self) -> float:
        """Bytes a second."""
        return self.size / self.seconds


def fetch(way: Way, url: str, *, clients: int = 1, size: int) -> Transfer:
    """Fetch a URL of `size` bytes with so many curls at once; redirects are followed."""
    argv = [*way.within, program("curl"), "--silent", "--show-error", "--fail", "--location"]
    argv += [
        "--header",
        f"Accept: {ANY_MANIFEST}",
        *way.curl(),
        "--output",
        "/dev/null",
        "--write-out",
        "%{size_download}",
        url,
    ]
    start = time.monotonic()
    curls = [
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment(Path("/nonexistent")),
        )
        for _ in range(clients)
    ]
    try:
        outputs = [curl.communicate(timeout=_TIMEOUT) for curl in curls]
    finally:
        for curl in curls:
            curl.kill()
    seconds = time.monotonic() - start
    for curl, (fetched, errors) in zip(curls, outputs, strict=True):
        if curl.returncode or int(fetched) != size:
            raise RigError(f"{url}: got {fetched} bytes, want {size}: {errors}")
    return Transfer(seconds, size * clients)


def resolve(way: Way, url: str) -> str:
    """Return where a blob's URL leads, by asking for its first byte."""
    options = ["--location", "--range", "0-0", "--write-out", "%{url_effective}"]
    return _curl([*way.curl(), *options, "--output", "/dev/null", url])


def fetch_ranges(
    way: Way, url: str, requests: Sequence[Sequence[tuple[int, int]]], *, at_once: int
) -> None:
    """Fetch each request's half-open stretches with one curl; so many requests at once."""
    argv = ["--parallel", "--parallel-immediate", "--parallel-max", str(at_once)]
    if at_once == 1:
        argv = []  # in order
    for stretches in requests:
        asked = ",".join(f"{start}-{stop - 1}" for start, stop in stretches)
        argv += [*way.curl(), "--http1.1", "--location", "--range", asked, "--output", "/dev/null"]
        argv += ["--write-out", r"%{http_code} %{size_download}\n", url, "--next"]
    said = _curl(argv[:-1]).splitlines()
    want = sum(stop - start for stretches in requests for start, stop in stretches)
    parts = sum(len(stretches) for stretches in requests if len(stretches) > 1)
    got = sum(int(line.split()[1]) for line in said)
    answers = {line.split()[0] for line in said}
    # Of several ranges each has a head of its own, and neighbours may be joined.
    if answers != {"206"} or len(said) != len(requests) or not want <= got <= want + 512 * parts:
        raise RigError(f"{url}: got {got} bytes by {answers}, want {want} in {len(requests)} parts")


def _curl(options: list[str]) -> str:
    ran = subprocess.run(
        [program("curl"), "--silent", "--show-error", *options],
        capture_output=True,
        text=True,
        env=clean_environment(Path("/nonexistent")),
        timeout=_TIMEOUT,
        check=False,
    )
    if ran.returncode:
        raise RigError(f"curl: {ran.stderr}")
    return ran.stdout


class Connection:
    """One TLS connection to the host of a URL, and small requests on it."""

    def __init__(self, way: Way, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        raw = socket.create_connection(("127.0.0.1", way.port or parts.port or 443), timeout=30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if way.proxy:
            raw.sendall(f"CONNECT {parts.netloc} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer and (more := raw.recv(4096)):
                answer += more
            if b" 200 " not in answer[:16]:
                raise RigError(f"CONNECT {parts.netloc}: got {answer[:200]!r}, want 200")
        self._socket = context.wrap_socket(raw, server_hostname=parts.hostname)
        self._request = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: {ANY_MANIFEST}\r\n\r\n"
        ).encode()

    def ask(self) -> None:
        """Send the request and take the whole answer, which must be a 200 with a length."""
        self._socket.sendall(self._request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive()
        head, _, body = answer.partition(b"\r\n\r\n")
        lowered = head.lower()
        start = lowered.find(b"\r\ncontent-length:")
        if b" 200 " not in head[:16] or start < 0:
            raise RigError(f"got {head!r}, want 200 and a Content-Length")
        missing = int(lowered[start + 17 :].split(b"\r\n", 1)[0]) - len(body)
        while missing > 0:
            missing -= len(self._receive())

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise RigError("the server closed the connection in an answer")
        return data


def context(way: Way) -> ssl.SSLContext:
    """Return what verifies the peer's certificates."""
    trust = ssl.create_default_context(cafile=str(way.ca_file))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # squid's leaves do not name their issuer's key
    return trust
