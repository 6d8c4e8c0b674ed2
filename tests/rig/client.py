"""A small HTTPS client that goes through a proxy: one connection a request, nothing hidden.

`request` reads the whole answer; `open` gives a `Stream` for partial reads and for leaving in the
middle; `tunnel` gives the socket after CONNECT, for what no decent client would send.
"""

import base64
import http.client
import json
import re
import socket
import ssl
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Self
from urllib.parse import SplitResult, urlencode, urlsplit

from rig.images import ANY_MANIFEST
from rig.networks import Network
from rig.process import PATIENCE, eventually

Body = bytes | Iterable[bytes] | None


class ConnectRefusedError(Exception):
    """The proxy answered CONNECT with something other than 200."""

    def __init__(self, status: int, answer: bytes) -> None:
        super().__init__(f"CONNECT: got {status} {answer[:500]!r}, want 200")
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Message
    body: bytes

    @property
    def digest(self) -> str | None:
        return self.headers["Docker-Content-Digest"]

    @property
    def cache_status(self) -> str:
        return self.headers.get("Cache-Status", "")

    def json(self) -> dict[str, object]:
        value: dict[str, object] = json.loads(self.body)
        return value


class Stream:
    """A response whose body has not been read; close it, or use it in `with`."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._socket: socket.socket = connection.sock
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers: Message = self._response.headers

    def read(self, count: int | None = None) -> bytes:
        """Read `count` bytes, or all the rest; IncompleteRead when the proxy cuts the body."""
        return self._response.read(count)

    def read_some(self, most: int = 1 << 16) -> bytes:
        """Read what is there, at least a byte unless the body has ended."""
        return self._response.read1(most)

    def settle(self) -> Answer:
        return Answer(self.status, self.headers, self.read())

    def abort(self) -> None:
        """Leave as a killed client does: with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._response.close()
        self._connection.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """Sends requests through the proxy, on a loopback port unless `proxy_address` is another.

    `context` decides whom to trust; `proxy_authorization` goes into CONNECT; `source` is the
    client's own address (any of 127/8).
    """

    def __init__(
        self,
        proxy_port: int,
        context: ssl.SSLContext,
        *,
        timeout: float = 60,
        proxy_authorization: str | None = None,
        proxy_address: str = "127.0.0.1",
        source: str | None = None,
    ) -> None:
        self._proxy = (proxy_address, proxy_port)
        self._source = (source, 0) if source else None
        self._context = context
        self._timeout = timeout
        self._proxy_authorization = proxy_authorization

    def await_stored(self, count: int = 1) -> None:
        """Wait until the proxy has stored so many blobs: until then others follow the fetch."""
        eventually(lambda: self._stored() >= count, what=f"{count} blobs stored")

    def _stored(self) -> int:
        connection = http.client.HTTPConnection(*self._proxy, timeout=PATIENCE)
        try:
            connection.request("GET", "/healthz")
            counters: dict[str, int] = json.loads(connection.getresponse().read())["counters"]
        finally:
            connection.close()
        return counters.get("blob_stored", 0)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", url, headers)

    def head(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("HEAD", url, headers)

    def manifest(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET with an Accept of every manifest type, as clients do."""
        return self.get(url, {"Accept": ANY_MANIFEST, **(headers or {})})

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        with self.open(method, url, headers, body) as stream:
            return stream.settle()

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Stream:
        """Send a request and return once the head of the answer is there."""
        parts = urlsplit(url)
        connection = self.connection(url)
        target = url if parts.scheme == "http" else _target(parts)
        try:
            connection.request(method, target, body, dict(headers or {}))
            return Stream(connection)
        except BaseException:
            connection.close()
            raise

    def connection(self, url: str) -> http.client.HTTPConnection:
        """Return a connection on which several requests to that URL's host can be made."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, parts.port or 80, timeout=self._timeout)
            connection.sock = self.dial()
        else:
            connection = http.client.HTTPConnection(host, parts.port or 443, timeout=self._timeout)
            connection.default_port = 443  # else Host gets ":443"
            connection.sock = self.tunnel(host, parts.port or 443)
        return connection

    def tunnel(self, host: str, port: int = 443, sni: str | None = None) -> ssl.SSLSocket:
        """CONNECT to host:port, then do the TLS handshake (with another `sni` if wanted)."""
        raw = self.connect(host, port)
        try:
            return self._context.wrap_socket(raw, server_hostname=sni or host)
        except BaseException:
            raw.close()
            raise

    def connect(self, host: str, port: int = 443) -> socket.socket:
        """CONNECT to host:port and return the bare socket."""
        raw = self.dial()
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if self._proxy_authorization:
            lines.append(f"Proxy-Authorization: {self._proxy_authorization}")
        try:
            raw.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b""
            while b"\r\n\r\n" not in answer and (more := raw.recv(1)):
                answer += more
        except BaseException:
            raw.close()
            raise
        words = answer.split(None, 2)
        if len(words) < 2 or words[1] != b"200":
            length = re.search(rb"content-length: *(\d+)", answer, re.IGNORECASE)
            end = len(answer) + (int(length[1]) if length else 0)
            while len(answer) < end and (more := raw.recv(4096)):
                answer += more
            raw.close()
            raise ConnectRefusedError(int(words[1]) if len(words) > 1 else 0, answer)
        return raw

    def dial(self) -> socket.socket:
        return socket.create_connection(self._proxy, self._timeout, self._source)

    def certificate(self, host: str, port: int = 443) -> bytes:
        """Return the certificate (DER) that the other end of a CONNECT shows."""
        with self.tunnel(host, port) as tls:
            return tls.getpeercert(binary_form=True) or b""

    def authorization(self, url: str, account: str | None = None, password: str = "") -> str:
        """Do what a client does after a 401: return the Authorization that `url` then takes.

        The token is fetched through the proxy as well; without an account it is anonymous.
        """
        challenge = self.head(url).headers.get("WWW-Authenticate", "")
        return self.answer_to(challenge, account, password)

    def answer_to(self, challenge: str, account: str | None = None, password: str = "") -> str:
        """Return the Authorization that answers a challenge."""
        own = basic(account, password) if account else None
        if challenge.lower().startswith("basic"):
            return own or ""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if "realm" not in fields:
            raise ValueError(f"got WWW-Authenticate {challenge!r}, want a Bearer realm")
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        headers = {"Authorization": own} if own else {}
        answer = self.get(f"{fields['realm']}?{query}", headers)
        if answer.status != 200:
            raise ValueError(f"got {answer.status} from {fields['realm']}, want a token")
        return f"Bearer {answer.json()['token']}"


class DirectClient(Client):
    """The same without a proxy: every https name leads to one loopback port."""

    def connect(self, host: str, port: int = 443) -> socket.socket:  # noqa: ARG002 - any name
        """Return a connection to the one port."""
        return socket.create_connection(self._proxy, self._timeout)


class ClientWithin(Client):
    """The same in a network namespace, on whose loopback the proxy listens."""

    def __init__(self, network: Network, proxy_port: int, context: ssl.SSLContext) -> None:
        super().__init__(proxy_port, context)
        self._network = network

    def dial(self) -> socket.socket:
        return self._network.connect(*self._proxy, self._timeout)


class RedirectedClient(Client):
    """The same from a network whose gateway may redirect: no proxy, and `addresses` for a DNS."""

    def __init__(
        self, network: Network, addresses: Mapping[str, str], context: ssl.SSLContext
    ) -> None:
        super().__init__(0, context)
        self._network = network
        self._addresses = addresses

    def connect(self, host: str, port: int = 443) -> socket.socket:
        """Return a connection to the host's address."""
        return self._network.connect(self._addresses[host.lower()], port)


def basic(account: str, password: str) -> str:
    """Return a Basic Authorization."""
    return "Basic " + base64.b64encode(f"{account}:{password}".encode()).decode()


def _target(parts: SplitResult) -> str:
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
