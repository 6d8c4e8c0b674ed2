"""A company's proxy that hangs or leads back, and who gets to see its password."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from rig.client import ConnectRefusedError
from rig.corporate import CorporateProxy, RelayServer, serving
from rig.faults import FaultServer, status
from rig.greeter import GREETING, greeter
from rig.ports import free_port
from rig.process import RigError
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT, PLAIN = "https://fault.example.test", "http://plain-fault.example.test:5001"
UPLOAD = "/v2/app/blobs/uploads/x"


@pytest.fixture
def plain() -> Iterator[FaultServer]:
    """A registry over plain HTTP, which can be taken for a proxy too: it answers what it has."""
    server = FaultServer(None)
    server.routes |= {UPLOAD: status(200, b"{}"), f"{PLAIN}{UPLOAD}": status(200, b"{}")}
    server.routes[f"{PLAIN}/v2/"] = server.routes["/v2/"]
    yield server
    server.stop()


def test_a_proxy_that_hangs_is_given_up(start_entrepot: "StartEntrepot") -> None:
    """Fetches have their deadline; what passes through and tunnels have ten times that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://me:hidden@127.0.0.1:{silent.getsockname()[1]}"
        entrepot = start_entrepot(
            upstream_proxy=url, connect_timeout="0.5s", registry="fault.example.test"
        )
        client = entrepot.client()
        fetched = client.manifest(f"{FAULT}/v2/app/manifests/1")
        assert (fetched.status, b"the upstream proxy: no answer in time" in fetched.body) == (
            502,
            True,
        )
        passed = client.get(f"{FAULT}{UPLOAD}")
        named = f"the upstream proxy {url.replace('me:hidden@', '')}: no answer in time"
        assert (passed.status, named.encode() in passed.body) == (502, True)
        with pytest.raises(ConnectRefusedError, match=named) as refused:
            client.connect("mail.example.test")
        assert refused.value.status == 502
    assert entrepot.log.count("upstream_proxy_failed") == 1
    assert "hidden" not in entrepot.log


def test_a_client_that_leaves_is_waited_for_no_more(start_entrepot: "StartEntrepot") -> None:
    """Who hangs up on a proxy that hangs leaves nothing behind; others go on."""
    with ExitStack() as kept:
        silent = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        entrepot = start_entrepot(upstream_proxy=url, connect_timeout="0.5s", only_listed=True)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", entrepot.port)) as raw:
                raw.sendall(b"CONNECT mail.example.test:25 HTTP/1.1\r\n\r\n")
                kept.enter_context(silent.accept()[0]).recv(1)
        with pytest.raises(ConnectRefusedError, match="no answer in time"):
            entrepot.client().connect("mail.example.test")
    assert "Traceback" not in entrepot.log
    (line,) = [one for one in entrepot.log.splitlines() if "upstream_proxy_failed" in one]
    assert "host=mail.example.test:443" in line


def test_only_the_proxy_gets_its_password(
    start_entrepot: "StartEntrepot", plain: FaultServer
) -> None:
    """Not a registry that is reached past it, nor one without TLS inside of its tunnel."""
    where = f"{PLAIN[7:]}:127.0.0.1:{plain.port}"
    absolute = start_entrepot(upstream_proxy=f"http://me:hidden@127.0.0.1:{plain.port}")
    assert absolute.client().get(f"{PLAIN}{UPLOAD}").status == 200
    assert {one.headers.get("proxy-authorization") for one in plain.requests} == {
        "Basic bWU6aGlkZGVu"
    }
    plain.requests.clear()
    direct = start_entrepot(
        upstream_proxy=f"http://me:hidden@127.0.0.1:{free_port()}",
        no_proxy=PLAIN[7:],
        resolve=where,
    )
    assert direct.client().get(f"{PLAIN}{UPLOAD}").status == 200
    proxy = CorporateProxy([where])
    try:
        inside = start_entrepot(upstream_proxy=proxy.url, resolve=(), registry=PLAIN[7:])
        with inside.client().connect(*(PLAIN[7:].split(":", maxsplit=1)[0], 5001)) as raw:
            raw.sendall(f"GET {UPLOAD} HTTP/1.1\r\nHost: {PLAIN[7:]}\r\n\r\n".encode())
            assert raw.recv(20).startswith(b"HTTP/1.1 200")
    finally:
        proxy.stop()
    assert proxy.targets == [PLAIN[7:]]
    assert {one.path for one in plain.requests} == {"/v2/", UPLOAD}
    for one in plain.requests:
        assert {"proxy-authorization", "via"}.isdisjoint(one.headers)


def test_an_ipv6_host_is_named_as_it_must_be(start_entrepot: "StartEntrepot") -> None:
    """In brackets, as a proxy can only then tell the port (RFC 9112 section 3.2.3)."""
    proxy = CorporateProxy([])
    try:
        with greeter() as port:
            proxy.places["[2001:db8::1]:443"] = ("127.0.0.1", port)
            client = start_entrepot(upstream_proxy=proxy.url, only_listed=True).client()
            with client.connect("2001:db8::1") as raw:
                assert raw.recv(100) == GREETING
    finally:
        proxy.stop()
    assert (proxy.targets, proxy.refused) == (["[2001:db8::1]:443"], [])


def test_a_loop_ends_at_once(start_entrepot: "StartEntrepot", upstreams: Upstreams) -> None:
    """Where the upstream proxy leads back here, that is the answer, once."""
    with RelayServer(("127.0.0.1", 0), ("127.0.0.1", 1)) as loop, serving(loop):
        url = f"http://127.0.0.1:{loop.server_address[1]}"
        entrepot = start_entrepot(upstream_proxy=url, registry="hub.example.test")
        loop.target = ("127.0.0.1", entrepot.port)
        client, mark = entrepot.client(), upstreams.mark()
        answer = client.manifest("https://hub.example.test/v2/app/manifests/1")
        with pytest.raises(ConnectRefusedError, match="508"):
            client.connect("mail.example.test")
        passed = client.get(f"{PLAIN}{UPLOAD}")
        assert (passed.status, b"the upstream proxy leads back here" in passed.body) == (508, True)
        assert loop.taken < 10
    assert answer.status == 502
    assert upstreams.requests(mark) == ()


def test_a_proxy_that_is_this_one_is_left_out(start_entrepot: "StartEntrepot") -> None:
    """A machine whose programs use the cache may name it in HTTPS_PROXY; nobody else means it."""
    port = free_port()
    itself, listen = f"http://localhost:{port}", f"127.0.0.1:{port}"
    with pytest.raises(RigError, match=f"upstream_proxy {itself} is this proxy itself"):
        start_entrepot(upstream_proxy=itself, listen=listen)
    entrepot = start_entrepot()
    entrepot.daemon._env["HTTPS_PROXY"] = entrepot.url  # noqa: SLF001 the port is known now
    entrepot.restart()
    assert 'proxy_ignored variable=HTTPS_PROXY reason="it is this proxy itself"' in entrepot.log
    assert entrepot.client().get("https://hub.example.test/v2/").status == 200
