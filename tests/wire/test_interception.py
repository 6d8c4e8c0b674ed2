"""Which hosts are intercepted, and that all others are left alone."""

import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from rig.client import Client, ConnectRefusedError, DirectClient
from rig.faults import FaultServer, error
from rig.greeter import GREETING, greeter
from rig.images import ImageFactory
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import WEB_BODY, Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

WEB = "plainweb.example.test"
HUB = "hub.example.test"
REGISTRY = "registry.example.test"


@pytest.fixture
def web_certificate(upstreams: Upstreams) -> bytes:
    """The certificate that the web server itself shows."""
    context = upstreams.web_authority.client_context()
    return DirectClient(upstreams.nginx.tls_port, context).certificate(WEB)


def is_tunnelled(entrepot: Entrepot, upstreams: Upstreams, host: str) -> bool:
    """Whether a client that trusts only the upstreams' authority sees a certificate of theirs."""
    try:
        return bool(entrepot.stranger(upstreams.authority.pem).certificate(host))
    except ssl.SSLCertVerificationError:
        return False


def exchange(tls: socket.socket, request: str) -> bytes:
    """Send a request and return everything up to the end of the connection."""
    tls.sendall(request.encode())
    return b"".join(iter(lambda: tls.recv(1 << 16), b""))


def handshake_from(address: str, entrepot: Entrepot, host: str) -> bytes:
    """CONNECT from a source address, trusting only the proxy; return the certificate shown."""
    context = ssl.create_default_context(cadata=entrepot.ca_pem.decode())
    proxy = ("127.0.0.1", entrepot.port)
    with socket.create_connection(proxy, 30, source_address=(address, 0)) as raw:
        raw.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        with context.wrap_socket(raw, server_hostname=host) as tls:
            return tls.getpeercert(binary_form=True) or b""


def test_a_registry_nobody_listed_is_intercepted(client: Client, upstreams: Upstreams) -> None:
    """A host that answers the probe as a registry gets a certificate of the proxy's authority."""
    assert client.certificate(REGISTRY) != upstreams.client().certificate(REGISTRY)


def test_another_host_is_tunnelled_untouched(
    entrepot: Entrepot, upstreams: Upstreams, web_certificate: bytes
) -> None:
    """Promise 4: a TLS host that is no registry is seen with its own certificate and bytes."""
    client = entrepot.stranger(upstreams.web_authority.pem)
    assert client.certificate(WEB) == web_certificate
    answer = client.get(f"https://{WEB}/")
    assert answer.body == WEB_BODY
    assert "Cache-Status" not in answer.headers


def test_a_bare_answer_on_v2_makes_no_registry(
    entrepot: Entrepot, faults: FaultServer, upstreams: Upstreams
) -> None:
    """Promise 4: `{}` on /v2/ without the registry's header is anybody's, thus tunnelled."""
    faults.routes["/v2/"] = lambda e: e.send(200, b"{}", {"Content-Type": "application/json"})
    assert is_tunnelled(entrepot, upstreams, "fault.example.test")
    assert faults.of(path="/v2/", method="GET")


def test_a_server_that_speaks_first_is_heard(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """Promise 4: a protocol in which the server greets first works through CONNECT."""
    with greeter() as port:
        resolve = [*upstreams.resolve, f"mail.example.test:25:127.0.0.1:{port}"]
        client = start_entrepot(resolve=resolve).client()
        with client.connect("mail.example.test", 25) as raw:
            assert raw.recv(4096) == GREETING
            raw.sendall(b"EHLO me\r\n")
            assert raw.recv(4096) == b"echo EHLO me\r\n"


def test_an_unreachable_host_is_a_502_to_connect(start_entrepot: "StartEntrepot") -> None:
    """A tunnel that cannot be opened is refused in the answer to CONNECT."""
    entrepot = start_entrepot(resolve=[f"gone.example.test:443:127.0.0.1:{free_port()}"])
    with pytest.raises(ConnectRefusedError) as refused:
        entrepot.client().connect("gone.example.test")
    assert refused.value.status == 502


def test_a_listed_host_is_intercepted_unasked(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """`--registry` intercepts a host that the probe would not take for a registry."""
    client, mark = start_entrepot(registry=[WEB]).client(), upstreams.mark()
    assert client.certificate(WEB)
    assert not upstreams.requests(mark)


def test_only_listed_intercepts_nothing_else(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """`--only-listed` tunnels a registry that is not listed, and intercepts one that is."""
    entrepot = start_entrepot(registry=[HUB], only_listed=True)
    assert is_tunnelled(entrepot, upstreams, REGISTRY)
    assert not is_tunnelled(entrepot, upstreams, HUB)


def refuse(client: Client, raw: socket.socket) -> None:
    """Start TLS on a connection with a client that does not trust the proxy."""
    with pytest.raises(ssl.SSLCertVerificationError), raw:
        client._context.wrap_socket(raw, server_hostname=HUB)  # noqa: SLF001 the rig's own


def test_a_client_that_refuses_our_certificate_is_tunnelled(
    entrepot: Entrepot, upstreams: Upstreams
) -> None:
    """Promise 7: a client without the authority is tunnelled from then on, and no other is."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    refuse(stranger, stranger.connect(HUB))
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal logged")
    assert stranger.certificate(HUB) == upstreams.client().certificate(HUB)
    assert is_tunnelled(entrepot, upstreams, REGISTRY), "to have failed once is enough"


def test_a_refusal_concerns_that_client_alone(entrepot: Entrepot, upstreams: Upstreams) -> None:
    """Another client of the same host is intercepted as before."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    refuse(stranger, stranger.connect(HUB))
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal logged")
    assert handshake_from("127.0.0.2", entrepot, HUB)


def test_a_refusal_is_said_once(entrepot: Entrepot, upstreams: Upstreams) -> None:
    """Promise 7: a refusal is one line, which says who it is and what to do."""
    stranger = entrepot.stranger(upstreams.authority.pem)
    refuse(stranger, stranger.connect(HUB))
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal logged")
    assert stranger.certificate(HUB)
    (line,) = [line for line in entrepot.log.splitlines() if "certificate_refused" in line]
    assert "client=127.0.0.1" in line
    assert HUB in line
    assert "ca/install.sh" in line


def test_a_host_field_that_disagrees_is_refused(client: Client, upstreams: Upstreams) -> None:
    """Promise 2: `CONNECT a` with `Host: b` is a 421, and neither is asked."""
    client.certificate(HUB)
    mark = upstreams.mark()
    answer = client.get(f"https://{HUB}/v2/rig/tags/list", {"Host": REGISTRY})
    assert answer.status == 421
    assert not upstreams.requests(mark)


def test_a_server_name_that_disagrees_is_refused(client: Client, upstreams: Upstreams) -> None:
    """Promise 2: a TLS server name other than the CONNECT's is a 421."""
    client.certificate(HUB)
    mark = upstreams.mark()
    request = f"GET /v2/ HTTP/1.1\r\nHost: {HUB}\r\nConnection: close\r\n\r\n"
    with client.tunnel(HUB, sni=REGISTRY) as tls:
        assert exchange(tls, request).split()[1] == b"421"
    assert not upstreams.requests(mark)


def test_two_host_fields_are_refused(client: Client, upstreams: Upstreams) -> None:
    """Promise 2: a request with two Hosts is refused and reaches nobody."""
    client.certificate(HUB)
    mark = upstreams.mark()
    hosts = f"Host: {HUB}\r\nHost: {REGISTRY}\r\n"
    with client.tunnel(HUB) as tls:
        answer = exchange(tls, f"GET /v2/ HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")
    assert answer.split()[1] == b"421"
    assert not upstreams.requests(mark)


def test_a_plain_http_registry_is_cached(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A registry in absolute-form `http://` is cached like any other."""
    image = images.image("plain-http")
    upstreams.push(image, "plain.example.test:5000/rig:1")
    url = f"http://plain.example.test:5000/v2/rig/blobs/{image.layers[0].digest}"
    mark = upstreams.mark()
    first = client.get(url)
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    second = client.get(url)
    assert first.body == second.body == image.layers[0].read()
    assert second.cache_status == "entrepot; hit"
    assert len(upstreams.requests(mark).blob_gets) == 1


def test_a_verdict_outlives_a_restart(
    entrepot: Entrepot, client: Client, upstreams: Upstreams
) -> None:
    """A registry found once is intercepted after a restart, though nobody can be asked."""
    client.certificate(REGISTRY)
    with upstreams.down():
        entrepot.restart()
        assert client.certificate(REGISTRY)


def test_a_challenge_cannot_have_other_hosts_intercepted(
    start_entrepot: "StartEntrepot", faults: FaultServer, upstreams: Upstreams
) -> None:
    """Promise 4: a registry that names an unrelated token host does not open that host to us."""
    bank = FaultServer(upstreams.authority, "www.bank.test")
    bank.routes["/v2/"] = error(404, "NOT_FOUND", "no registry")
    realm = 'Bearer realm="https://www.bank.test/token",service="x"'
    path = "/v2/app/manifests/1"
    faults.routes[path] = error(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": realm})
    try:
        entrepot = start_entrepot(
            resolve=[*bank.resolve, f"fault.example.test:443:127.0.0.1:{faults.port}"]
        )
        answer = entrepot.client().get(f"https://fault.example.test{path}")
        assert answer.headers["WWW-Authenticate"] == realm
        assert is_tunnelled(entrepot, upstreams, "www.bank.test")
    finally:
        bank.stop()


def test_a_constrained_authority_tunnels_other_hosts(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """`--permit` intercepts registries below the permitted domains, and tunnels the others."""
    entrepot = start_entrepot(permit=[HUB])
    assert entrepot.client().certificate(HUB)
    assert is_tunnelled(entrepot, upstreams, REGISTRY)


def test_a_registry_at_an_ip_address_is_intercepted(client: Client, upstreams: Upstreams) -> None:
    """CONNECT to an address gets a certificate of the proxy's that names that address."""
    server = FaultServer(upstreams.authority, "127.0.0.1")
    try:
        shown = x509.load_der_x509_certificate(client.certificate("127.0.0.1", server.port))
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = [str(a) for a in names.get_values_for_type(x509.IPAddress)]
        assert addresses == ["127.0.0.1"]
        path, content = server.add_blob("app", b"by address")
        assert client.get(f"https://127.0.0.1:{server.port}{path}").body == content.body
    finally:
        server.stop()
