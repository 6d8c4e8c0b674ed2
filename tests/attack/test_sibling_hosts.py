"""What a registry's word does to other hosts of its domain, and one client's hosts to the others.

A registry names its token server in a challenge. That server is another host, perhaps the sign-on
of a whole company: for others than the clients that were sent there, and in all but tokens, it
stays what it is without a proxy. So does what asks its clients for a certificate.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from rig.certs import Leaf
from rig.faults import Exchange, FaultServer, Handler, error, status
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

REGISTRY, LOGIN, HUB = "fault.example.test", "login.example.test", "hub.example.test"
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
TOKEN = f"https://{LOGIN}/token?service=x"
ELSEWHERE = "127.0.0.9"
"""Where another client is."""


def challenge(server: str = LOGIN) -> Handler:
    header = {"WWW-Authenticate": f'Bearer realm="https://{server}/token",service="x"', **VERSION}
    return error(401, "UNAUTHORIZED", "log in", header)


def issue(exchange: Exchange) -> None:
    exchange.send(200, b'{"token":"t-1"}', {"Content-Type": "application/json"})


Serve = Callable[..., FaultServer]


@pytest.fixture
def serve(upstreams: Upstreams) -> Iterator[Serve]:
    """Start a server that hands out tokens, and is no registry."""
    started: list[FaultServer] = []

    def start(name: str = LOGIN, context: ssl.SSLContext | None = None) -> FaultServer:
        server = FaultServer(upstreams.authority, name, context=context)
        started.append(server)
        server.routes = {"/token": issue, "/v2/": error(404, "NOT_FOUND", "no registry")}
        return server

    yield start
    for server in started:
        server.stop()


Start = Callable[..., Entrepot]


@pytest.fixture
def start(start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer) -> Start:
    """Start a proxy that finds these servers, too."""
    faults.routes["/v2/"] = challenge()

    def begin(
        *servers: FaultServer,
        resolve: tuple[str, ...] = (),
        registry: tuple[str, ...] = (),
        only_listed: bool = False,
    ) -> Entrepot:
        own = [entry for server in (faults, *servers) for entry in server.resolve]
        return start_entrepot(
            resolve=[*upstreams.resolve, *own, *resolve], registry=registry, only_listed=only_listed
        )

    return begin


class Looker:
    """A client that trusts the proxy and the upstreams, and looks whose certificate it sees."""

    def __init__(
        self,
        entrepot: Entrepot,
        upstreams: Upstreams,
        source: str | None = None,
        leaf: Leaf | None = None,
    ) -> None:
        self.client = entrepot.client(upstreams.authority.pem, source=source)
        self._upstreams = upstreams.authority.certificate.subject
        if leaf is not None:
            self.client._context.load_cert_chain(leaf.cert, leaf.key)  # noqa: SLF001 the rig's own

    def is_tunnelled(self, host: str, port: int = 443) -> bool:
        shown = x509.load_der_x509_certificate(self.client.certificate(host, port))
        return shown.issuer == self._upstreams

    def is_sent(self, path: str = "/v2/") -> None:
        """Be sent for a token by the registry."""
        assert self.client.get(f"https://{REGISTRY}{path}").status == 401


def test_a_token_server_is_looked_into_for_whom_a_registry_sent_there(
    start: Start, serve: Serve, upstreams: Upstreams
) -> None:
    """For nobody else, at no other port: a challenge says something to who gets it."""
    login = serve()
    entrepot = start(login, resolve=(f"{LOGIN}:8443:127.0.0.1:{login.port}",))
    here, there = (Looker(entrepot, upstreams, source) for source in (None, ELSEWHERE))
    assert here.is_tunnelled(LOGIN)
    here.is_sent()
    assert not here.is_tunnelled(LOGIN)
    assert here.is_tunnelled(LOGIN, 8443)
    assert there.is_tunnelled(LOGIN)
    there.is_sent()  # from memory
    assert entrepot.counter("ping_hits") == 1
    assert not there.is_tunnelled(LOGIN)


OTHER_REQUESTS = (
    ("GET", "/token", None),
    ("GET", "/token?next=/home", None),
    ("HEAD", "/token?service=x", None),
    ("POST", "/token?service=x", "application/json"),
    ("GET", "/login?service=x", None),
    ("GET", "/v2/", None),
    ("GET", "/v2/app/manifests/1", None),
    ("GET", f"/v2/app/blobs/sha256:{'0' * 64}", None),
)


def test_only_a_request_for_a_token_is_ours_to_answer(
    start: Start, serve: Serve, upstreams: Upstreams
) -> None:
    """Whatever else is asked of a token server passes as it is, each time."""
    login = serve()
    looker = Looker(start(login), upstreams)
    looker.is_sent()
    assert not looker.is_tunnelled(LOGIN)
    login.instead = issue
    for method, path, kind in OTHER_REQUESTS:
        fields = {"X-Own": "1", "Accept-Encoding": "br", **({"Content-Type": kind} if kind else {})}
        for _ in range(2):
            login.requests.clear()
            body = b"{}" if kind else None
            answer = looker.client.request(method, f"https://{LOGIN}{path}", fields, body)
            assert (answer.status, answer.cache_status) == (200, ""), (method, path)
            (seen,) = login.requests
            assert {"x-own": "1", "accept-encoding": "br"}.items() <= seen.headers.items()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = (
        looker.client.get(TOKEN),
        looker.client.request("POST", f"https://{LOGIN}/token", form, b"grant_type=password"),
    )
    for answer in answers:
        assert (answer.status, answer.cache_status) == (200, "entrepot; fwd=bypass; detail=token")


def absolute(entrepot: Entrepot, url: str) -> bytes:
    """GET an https URL as plain proxies are asked, without a CONNECT; the answer's status line."""
    host = url.split("/")[2]
    with socket.create_connection(("127.0.0.1", entrepot.port), 30) as raw:
        raw.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: raw.recv(1 << 16), b""))


def test_only_listed_counts_for_token_servers(
    start: Start, serve: Serve, upstreams: Upstreams
) -> None:
    """What is not listed names nobody, on no road; what is listed has its token server."""
    login = serve()
    entrepot = start(login, registry=(HUB,), only_listed=True)
    looker = Looker(entrepot, upstreams)
    answer = absolute(entrepot, f"https://{REGISTRY}/v2/")
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"Cache-Status" not in answer
    assert looker.is_tunnelled(LOGIN)
    listing = Looker(start(login, registry=(REGISTRY,), only_listed=True), upstreams)
    listing.is_sent()
    assert not listing.is_tunnelled(LOGIN)
    assert listing.is_tunnelled(HUB)


@contextmanager
def http_2_server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve nothing but HTTP/2 on a port: a client that speaks another gets its SETTINGS too."""
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                    tls.sendall(b"\0\0\0\4\0\0\0\0\0")
                    tls.recv(1 << 16)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_token_server_with_needs_of_its_own_is_left_alone(
    start: Start, serve: Serve, upstreams: Upstreams, faults: FaultServer
) -> None:
    """Nobody can show a client's certificate in its stead; nor is there an HTTP/1.1 to speak."""
    authority = upstreams.authority
    card = authority.issue("a-client", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    asking, insisting, modern = (f"{name}.example.test" for name in ("asking", "insisting", "h2"))
    names = [(asking, False), (insisting, True)]
    contexts = [authority.issue(n).asking_context(authority.pem, insist=i) for n, i in names]
    servers = [serve(name, context) for (name, _), context in zip(names, contexts, strict=True)]
    for name in (asking, insisting, modern):
        faults.routes[f"/v2/{name}/manifests/1"] = challenge(name)
    with http_2_server(authority.issue(modern).server_context()) as port:
        entrepot = start(*servers, resolve=(f"{modern}:443:127.0.0.1:{port}",))
        looker = Looker(entrepot, upstreams, leaf=card)
        for name in (asking, insisting, modern):
            looker.is_sent(f"/v2/{name}/manifests/1")
            assert looker.is_tunnelled(name)
            assert f"host_tunnelled host=https://{name} " in entrepot.log
    for name in (asking, insisting):
        assert looker.client.get(f"https://{name}/token?service=x").cache_status == ""


def test_a_registry_that_asks_for_certificates_is_left_alone(
    start: Start, serve: Serve, upstreams: Upstreams
) -> None:
    """Docker's `certs.d/HOST/client.cert` would be of no use; who lists it knows of none."""
    name, authority = "asking.example.test", upstreams.authority
    server = serve(name, authority.issue(name).asking_context(authority.pem))
    server.routes["/v2/"] = status(200, b"{}", VERSION)
    entrepot = start(server)
    assert Looker(entrepot, upstreams).is_tunnelled(name)
    assert server.of(path="/v2/")
    assert f"host_tunnelled host=https://{name} " in entrepot.log
    assert not Looker(start(server, registry=(name,)), upstreams).is_tunnelled(name)


def test_what_begins_to_want_certificates_is_left_alone_from_then_on(
    start: Start, serve: Serve, upstreams: Upstreams
) -> None:
    """A request that fails inside is the sign; the line in the log says why, once."""
    authority = upstreams.authority
    card = authority.issue("a-client", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    name = "sub.example.test"
    login, registry = serve(), serve(name)
    registry.routes["/v2/"] = status(200, b"{}", VERSION)
    entrepot = start(login, registry)
    looker = Looker(entrepot, upstreams, leaf=card)
    looker.is_sent()
    assert looker.client.get(TOKEN).cache_status == "entrepot; fwd=bypass; detail=token"
    assert looker.client.get(f"https://{name}/v2/").cache_status
    for server, host in ((login, LOGIN), (registry, name)):
        server.show(authority.issue(host).asking_context(authority.pem, insist=True))
        server.hang_up()
        # As any client asks, by our own client and by mitmproxy's.
        path = "/token?service=x" if host == LOGIN else "/v2/app/blobs/uploads/x"
        # The one goes on with a token of ours, the other is told.
        assert looker.client.get(f"https://{host}{path}").status == (200 if host == LOGIN else 502)
        line = f"host_tunnelled host=https://{host} "
        eventually(lambda line=line: line in entrepot.log, what=line)  # type: ignore[misc]
        assert looker.is_tunnelled(host)
        assert looker.client.get(f"https://{host}{path}").cache_status == ""
        assert entrepot.log.count(line) == 1


@contextmanager
def silent_server() -> Iterator[tuple[int, list[socket.socket]]]:
    """Accept on a port, and never say anything; its connections, as they come."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    accepted: list[socket.socket] = []

    def run() -> None:
        with suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1], accepted
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for raw in accepted:
            raw.close()


def is_probed(raw: socket.socket) -> bool:
    """Whether TLS was begun on a connection, and is still waited for."""
    readable, _, _ = select.select([raw], [], [], 0)
    if not readable:
        return False
    hello = raw.recv(1 << 16, socket.MSG_PEEK)
    return hello.startswith(b"\x16\x03")


def has_left(raw: socket.socket) -> bool:
    """Whether the other side has closed, behind what it has sent."""
    raw.settimeout(0)
    with suppress(BlockingIOError):
        while raw.recv(1 << 16):
            pass
        return True
    return False


def test_who_scans_dead_hosts_delays_nobody_else(start: Start, upstreams: Upstreams) -> None:
    """Forty hosts that never answer, from one client: another's first CONNECT is as ever."""
    hosts = [f"dead-{number}.test" for number in range(40)]
    with silent_server() as (port, accepted):
        entrepot = start(resolve=tuple(f"{host}:443:127.0.0.1:{port}" for host in hosts))
        scanner, other = entrepot.client(source=ELSEWHERE), Looker(entrepot, upstreams)
        with ThreadPoolExecutor(len(hosts)) as pool:
            scan = [pool.submit(scanner.connect, host) for host in hosts]
            eventually(lambda: sum(map(is_probed, accepted)) >= 4, what="four probes")
            probed = [raw for raw in accepted if is_probed(raw)]
            assert not other.is_tunnelled(HUB)
            waiting = [raw for raw in probed if not has_left(raw)]
            for one in scan:
                one.result().close()
        assert waiting == probed, "it waited until the first hosts were given up"
        assert len(probed) <= 4
