"""Clients with and without the CA at one address: each gets what it can, and nobody fails twice."""

import select
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.clients import Skopeo
from rig.corporate import CorporateProxy
from rig.images import ImageFactory
from rig.needs import need
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot, Option
from rig.route import Route, bundle
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"
REGISTRY = "registry.example.test"
GONE = "gone.example.test"

Attempt = Callable[[Entrepot, Path, str], bool]
"""Whether a client, through the proxy and with these authorities, reaches a host that it trusts."""
Refused = Callable[..., tuple[Entrepot, Client]]


def succeeds(*words: str) -> bool:
    finished = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    return finished.returncode == 0


def curl(entrepot: Entrepot, trusted: Path, host: str) -> bool:
    need("curl")
    url = f"https://{host}/v2/"
    words = ("--proxy", entrepot.url, "--noproxy", "", "--cacert", str(trusted), url)
    return succeeds("curl", "-sS", *words)


def openssl(entrepot: Entrepot, trusted: Path, host: str) -> bool:
    need("openssl")
    where = ("-proxy", f"127.0.0.1:{entrepot.port}", "-connect", f"{host}:443", "-servername", host)
    return succeeds("openssl", "s_client", "-CAfile", str(trusted), "-verify_return_error", *where)


def skopeo(entrepot: Entrepot, trusted: Path, host: str) -> bool:
    """With Go's TLS library, as all container engines."""
    need("skopeo")
    client = Skopeo(trusted.parent / "skopeo", Route(entrepot.url, trusted))
    try:
        return client.inspect(f"{host}/untrusting/app:1").returncode == 0
    finally:
        client.stop()


@pytest.fixture
def image(upstreams: Upstreams, images: ImageFactory) -> None:
    """What skopeo looks at."""
    upstreams.push(images.image("untrusting"), f"{HUB}/untrusting/app:1")


def other_library(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have a client look like another program."""
    context.set_ciphers("ECDHE+AESGCM")
    return context


@contextmanager
def handshake_begun(client: Client, host: str = HUB) -> Iterator[Callable[[], None]]:
    """Send a ClientHello and wait for the answer; what is given reads it and goes on.

    In memory, so that no answer is read earlier, however fast it comes.
    """
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client._context.wrap_bio(received, to_send, server_hostname=host)  # noqa: SLF001
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()

    def end() -> None:
        while data := raw.recv(65536):
            received.write(data)
            with suppress(ssl.SSLWantReadError):
                return tls.do_handshake()
        pytest.fail("the proxy ended the connection in the handshake")

    with client.connect(host) as raw:
        raw.sendall(to_send.read())
        assert select.select([raw], [], [], 60)[0]
        try:
            yield end
        finally:
            raw.sendall(to_send.read())


def refuse(client: Client, entrepot: Entrepot, host: str = HUB) -> None:
    """Do a handshake as a client that does not trust the proxy, until that is noticed."""
    before = entrepot.counter("handshake_failed")
    with pytest.raises(ssl.SSLCertVerificationError):
        client.certificate(host)
    eventually(lambda: entrepot.counter("handshake_failed") > before, what="the refusal noticed")


def listed(entrepot: Entrepot) -> list[dict[str, object]]:
    clients = entrepot.local("/healthz").json()["untrusting_clients"]
    assert isinstance(clients, list)
    return clients


@pytest.mark.parametrize("attempt", [curl, openssl, skopeo])
@pytest.mark.usefixtures("image")
def test_one_without_the_ca_costs_others_nothing(
    attempt: Attempt, entrepot: Entrepot, upstreams: Upstreams, folder: Path
) -> None:
    """It fails once and works from then on; who trusts us at its address is cached all the time."""
    trusting = entrepot.client()
    other_library(trusting._context)  # noqa: SLF001 the rig's own
    trusted = bundle(folder / "strangers.pem", upstreams.authority.pem.read_bytes())

    def is_cached() -> bool:
        return "entrepot" in trusting.get(f"https://{HUB}/v2/").cache_status

    assert is_cached()
    assert not attempt(entrepot, trusted, HUB)
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal logged")
    for _ in range(2):
        assert is_cached()
        assert attempt(entrepot, trusted, HUB)
    assert is_cached()
    assert entrepot.counter("certificate_refused") == 1
    assert entrepot.counter("tunnelled_untrusting") >= 2
    (shown,) = listed(entrepot)
    assert (shown["client"], shown["hosts"], shown["others_trust"]) == ("127.0.0.1", [HUB], True)
    assert shown["library"] == ("Go" if attempt is skopeo else "OpenSSL")
    assert f"fingerprint={shown['library']}/{shown['fingerprint']} " in entrepot.log


def test_connections_of_before_the_refusal_do_not_fail(
    entrepot: Entrepot, upstreams: Upstreams
) -> None:
    """What counts is when the ClientHello comes: a client's second connection may be open."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    with stranger.connect(HUB) as raw:
        refuse(stranger, entrepot)
        with stranger._context.wrap_socket(raw, server_hostname=HUB) as tls:  # noqa: SLF001
            assert tls.getpeercert()


def test_handshakes_under_way_are_one_refusal(entrepot: Entrepot, upstreams: Upstreams) -> None:
    """Promise 7: they are one line, which says who it is and what to do."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    with ExitStack() as begun:
        for end in [begun.enter_context(handshake_begun(stranger)) for _ in range(3)]:
            with pytest.raises(ssl.SSLCertVerificationError):
                end()
    eventually(lambda: entrepot.counter("handshake_failed") == 3, what="the refusals noticed")
    assert stranger.certificate(HUB) == upstreams.client().certificate(HUB)
    assert entrepot.counter("certificate_refused") == 1
    (shown,) = listed(entrepot)
    assert (shown["refused"], shown["tunnelled"]) == (3, 1)


def test_one_that_failed_does_not_fail_at_the_next_registry(
    entrepot: Entrepot, upstreams: Upstreams
) -> None:
    """Promise 7: once is enough, for registries and token servers alike."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    refuse(stranger, entrepot)
    assert stranger.certificate(REGISTRY) == upstreams.client().certificate(REGISTRY)
    assert entrepot.counter("handshake_failed") == 1
    assert listed(entrepot)[0]["hosts"] == [HUB, REGISTRY]


def test_two_that_look_the_same(entrepot: Entrepot, upstreams: Upstreams) -> None:
    """Who trusts us gives way for a minute at first, so that the other's next attempt works."""
    trusting, stranger = entrepot.client(upstreams.authority.pem), entrepot.stranger()
    stranger._context.load_verify_locations(upstreams.authority.pem)  # noqa: SLF001
    assert trusting.get(f"https://{HUB}/v2/").cache_status
    refuse(stranger, entrepot)
    assert stranger.certificate(HUB)
    assert not trusting.get(f"https://{HUB}/v2/").cache_status, "it works all the same"
    assert 'outcome="tunnelled for 1min"' in entrepot.log
    assert trusting.get(f"https://{REGISTRY}/v2/").cache_status, "for that host only"


def test_who_fetches_the_certificate_is_cached_at_once(
    entrepot: Entrepot, upstreams: Upstreams
) -> None:
    """The usual order of a first day: the proxy, a pull that fails, the certificate, a pull."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    refuse(stranger, entrepot)
    assert stranger.certificate(HUB)
    stranger._context.load_verify_locations(cadata=entrepot.ca_pem.decode())  # noqa: SLF001
    assert stranger.get(f"https://{HUB}/v2/").cache_status


def test_its_tunnel_goes_by_the_upstream_proxy(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """A connection that becomes a tunnel with its ClientHello is no way past it."""
    corporate = CorporateProxy(upstreams.resolve)
    try:
        entrepot = start_entrepot(upstream_proxy=corporate.url, registry=[HUB], resolve=None)
        stranger = entrepot.stranger(upstreams.authority.pem)
        refuse(stranger, entrepot)
        assert f"{HUB}:443" not in corporate.targets
        assert stranger.certificate(HUB) == upstreams.client().certificate(HUB)
        assert stranger.get(f"https://{HUB}/v2/").status == 200
        assert corporate.targets.count(f"{HUB}:443") == 2
    finally:
        corporate.stop()


@pytest.fixture
def refused_at(start_entrepot: "StartEntrepot", upstreams: Upstreams) -> Refused:
    """Start a proxy with these options, and a client that refused its certificate for a host."""

    def refused(host: str, **options: Option) -> tuple[Entrepot, Client]:
        entrepot = start_entrepot(runner="serve", env=None, registry=[host], **options)
        stranger = entrepot.stranger(upstreams.authority.pem)
        refuse(stranger, entrepot, host)
        return entrepot, stranger

    return refused


def test_a_tunnel_to_nobody_is_closed(refused_at: Refused) -> None:
    """CONNECT was answered by then, so a client sees its connection end."""
    entrepot, stranger = refused_at(GONE, resolve=[f"{GONE}:443:127.0.0.1:{free_port()}"])
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        stranger.certificate(GONE)
    assert "Traceback" not in entrepot.log


def test_a_tunnel_may_rest(refused_at: Refused) -> None:
    """The watch on clients that do nothing takes it for one: it may rest twelve times as long."""
    entrepot, stranger = refused_at(HUB, idle="1s")
    with stranger.tunnel(HUB) as tls:
        tls.settimeout(30)
        assert tls.recv(1) == b""
    eventually(lambda: "nothing passed the tunnel" in entrepot.log, what="its end")
