"""The transparent road: a gateway redirects, and the name that the client says decides.

Everything is in network namespaces (see rig.networks): clients, the gateway with the proxy and the
rules of scripts/redirect.sh, and beyond it the rig's hosts at addresses of their own.
"""

import signal
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter, RecordReader
from entrepot.observe.request_record import Road
from rig.client import DirectClient, RedirectedClient, basic
from rig.corporate import CorporateProxy
from rig.faults import FaultServer, Gate, status
from rig.gateway import OTHER_TRANSPARENT, TRANSPARENT, World
from rig.images import MIB, ImageFactory
from rig.models import ollama_model
from rig.needs import need, need_root
from rig.ollama import Ollama
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import WEB_BODY, Upstreams

HUB = "hub.example.test"
REGISTRY = "registry.example.test"
WEB = "plainweb.example.test"
FAULT = "fault.example.test"
PLAIN = "plain.example.test"
RULES = ("--registry-port", "443", "--registry-port", "5000")
PUBLIC = "9.9.9.9"
NOBODY = 65534
EVIL = "evil.example.test"
GREETER = "greeter.example.test"
GREETING = b"220 ready\r\n"


class Greeter(socketserver.StreamRequestHandler):
    """Speaks first, then says back each line."""

    def handle(self) -> None:
        self.wfile.write(GREETING)
        for line in self.rfile:
            self.wfile.write(line)


class Greeters(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def world(upstreams: Upstreams, fault_server: FaultServer) -> Iterator[World]:
    """The rig's hosts, each at an address of both families, and one that speaks first."""
    need_root()
    need("ip", "nft", "nsenter", "unshare")
    with ExitStack() as stack:
        greeter = stack.enter_context(Greeters(("127.0.0.1", 0), Greeter))
        thread = threading.Thread(target=greeter.serve_forever, args=(0.01,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(greeter.shutdown)
        world = World(upstreams)
        stack.callback(world.stop)
        for name in (HUB, REGISTRY, "auth.example.test", "cdn.example.test", WEB, EVIL):
            world.add(name)
        world.add(GREETER, target=greeter.server_address[1])
        world.add(FAULT, target=fault_server.port)
        world.add(PLAIN, 5000, upstreams.nginx.plain_port)
        yield world


@pytest.fixture(scope="module")
def entrepot(world: World, rig_folder: Path) -> Iterator[Entrepot]:
    """The proxy that most of these tests share, and the rules for its clients."""
    world.redirect("install", *RULES)
    with world.proxied(rig_folder / "transparent") as proxy:
        yield proxy


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


def client_of(world: World, family: int, *trusted: bytes) -> RedirectedClient:
    """A client of that family that trusts these authorities (PEM) alone."""
    context = ssl.create_default_context(cadata=b"".join(trusted).decode())
    return RedirectedClient(world.networks.clients, world.at(family), context)


def exchange(connection: socket.socket, sent: bytes) -> bytes:
    """Send bytes and return everything up to the end of the connection."""
    with connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_registry_is_cached(
    world: World, entrepot: Entrepot, images: ImageFactory, family: int
) -> None:
    """An unlisted registry is found by the probe of its name; its second pull costs no bytes."""
    client = client_of(world, family, entrepot.ca_pem)
    image = images.image(f"transparent-{family}")
    for host, repository in ((HUB, "acme/app"), (REGISTRY, "public/app")):
        world.upstreams.push(image, f"{host}/{repository}:{family}")
        base = f"https://{host}/v2/{repository}"
        manifest = f"{base}/manifests/{family}"
        headers = {}
        if host == REGISTRY:
            headers["Authorization"] = client.authorization(manifest)
        assert client.manifest(manifest, headers).digest == image.root.digest
        layer = image.layers[0]
        blob = f"{base}/blobs/{layer.digest}"
        first = client.get(blob, headers)
        entrepot.await_stored([layer.digest])
        mark = world.upstreams.mark()
        second = client.get(blob, headers)
        assert [a.body for a in (first, second)] == [layer.read()] * 2
        assert second.cache_status == "entrepot; hit"
        assert not world.upstreams.requests(mark)
        assert (
            f'host_probed host=https://{host} outcome="a registry, whose content is cached"'
            in entrepot.log
        )
        hit = Road.TRANSPARENT, layer.digest, Outcome.HIT, layer.size
        recorded = partial(is_recorded, entrepot, Filter(repository=repository), hit)
        eventually(recorded, what="the record of the hit")


def test_ollama_pulls_on_the_transparent_road(
    world: World, entrepot: Entrepot, upstreams: Upstreams, tmp_path: Path
) -> None:
    """It is sent to the same host in the other case, whose name it looks up and shows in TLS."""
    model = ollama_model(tmp_path / "made", "transparent", 3 * MIB)
    upstreams.push(model, f"{REGISTRY}/secret/transparent:1")
    client = client_of(world, 4, entrepot.ca_pem)
    ollama = Ollama(client, tmp_path / "pulled", basic("alice", "wonderland"), least_part=MIB)
    files = ollama.pull(f"https://{REGISTRY}", "secret/transparent", "1")
    assert {url.host for url in ollama.told} == {REGISTRY.upper()}
    assert files[model.layers[0].digest].read_bytes() == model.layers[0].read()


def is_recorded(entrepot: Entrepot, wanted: Filter, said: tuple[Road, str, Outcome, int]) -> bool:
    """Whether the latest record has this road, reference, outcome, and bytes of the disk."""
    for latest in RecordReader(entrepot.data).requests(wanted, most=1):
        record = latest.record
        return (record.road, record.reference, record.outcome, record.from_disk) == said
    return False


def test_the_log_names_the_listener(entrepot: Entrepot) -> None:
    """The line that says where clients are accepted has each road, in both families."""
    (line,) = (line for line in entrepot.log.splitlines() if " listening " in line)
    roads = dict(word.split("=", 1) for word in line.split() if "=" in word)
    for road, port in (("on", 3128), ("transparent", TRANSPARENT)):
        assert set(roads[road].split(",")) == {f"0.0.0.0:{port}", f"[::]:{port}"}


def test_another_host_is_tunnelled_untouched(world: World, entrepot: Entrepot, family: int) -> None:
    """Promise 4: what is no registry shows its own certificate and gets the client's bytes."""
    web = world.upstreams.web_authority
    client = client_of(world, family, web.pem.read_bytes())
    direct = DirectClient(world.upstreams.nginx.tls_port, web.client_context())
    assert client.certificate(WEB) == direct.certificate(WEB)
    assert client.get(f"https://{WEB}/").body == WEB_BODY
    assert (world.at(family)[WEB], 443) in world.doors.connections
    assert f"host=https://{WEB}" in entrepot.log


def test_a_client_that_names_no_host_is_tunnelled(
    world: World, entrepot: Entrepot, family: int
) -> None:
    """Without SNI the address alone decides nothing: a registry's own certificate is seen."""
    with_name = client_of(world, family, entrepot.ca_pem)
    assert with_name.certificate(FAULT)
    context = world.upstreams.authority.client_context()
    context.check_hostname = False
    with (
        world.networks.clients.connect(world.at(family)[FAULT], 443) as raw,
        context.wrap_socket(raw) as tls,
    ):
        assert tls.getpeercert()


def test_a_name_is_reached_by_name(
    world: World, entrepot: Entrepot, images: ImageFactory, family: int
) -> None:
    """A client that has a registry's name lead to a server of its own gets nothing stored."""
    image = images.image(f"evil-{family}")
    world.upstreams.push(image, f"{HUB}/acme/evil:1")
    evil = world.at(family)[EVIL]
    context = ssl.create_default_context(cadata=entrepot.ca_pem.decode())
    client = RedirectedClient(world.networks.clients, {HUB: evil}, context)
    layer = image.layers[0]
    assert client.get(f"https://{HUB}/v2/acme/evil/blobs/{layer.digest}").body == layer.read()
    assert (evil, 443) not in world.doors.connections


def test_another_host_inside_is_refused(world: World, entrepot: Entrepot) -> None:
    """What SNI and Host name must agree: the answer is 421, and the line says so."""
    client = client_of(world, 4, entrepot.ca_pem)
    answer = client.get(f"https://{HUB}/v2/", {"Host": REGISTRY})
    assert answer.status == 421
    assert "request_misdirected" in entrepot.log


def test_a_plain_registry_is_found_by_host(
    world: World, entrepot: Entrepot, images: ImageFactory, family: int
) -> None:
    """Plain HTTP whose Host names a registry is cached; whose Host does not, is passed through."""
    image = images.image(f"plain-{family}")
    world.upstreams.push(image, f"{PLAIN}:5000/acme/plain:{family}")
    layer, address = image.layers[0], world.at(family)[PLAIN]

    def get(host: str) -> bytes:
        lines = [f"GET /v2/acme/plain/blobs/{layer.digest} HTTP/1.1", f"Host: {host}"]
        request = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        return exchange(world.networks.clients.connect(address, 5000), request)

    assert get(f"{PLAIN}:5000").endswith(layer.read())
    entrepot.await_stored([layer.digest])
    assert b"entrepot; hit" in get(f"{PLAIN}:5000")
    came = world.doors.connections.count((address, 5000))
    other = get("elsewhere.example.test:5000")
    assert other.startswith(b"HTTP/1.1 404")
    assert b"entrepot" not in other
    assert world.doors.connections.count((address, 5000)) == came + 1


@pytest.mark.parametrize("sent", [b"", b"EHLO me\n", b"\x16\x03\x01\x00\x00\n", b"GET /\n"])
def test_other_protocols_pass(world: World, entrepot: Entrepot, sent: bytes) -> None:
    """Promise 4: whoever speaks first, and whatever it is, both sides get each other's bytes."""
    address = world.at(4)[GREETER]
    assert entrepot.daemon.running()
    with world.networks.clients.connect(address, 443) as connection:
        connection.sendall(sent)
        stream = connection.makefile("rb")
        assert stream.readline() == GREETING
        connection.sendall(b"more\n")
        connection.shutdown(socket.SHUT_WR)
        assert stream.read() == sent + b"more\n"


def test_a_client_without_the_certificate_is_tunnelled_from_then_on(
    world: World, entrepot: Entrepot
) -> None:
    """Promise 7: one refused certificate, and that client reaches the registry itself.

    Others do not: at another address, and at that one if their ClientHello is another.
    """
    stranger = client_of(world, 6, world.upstreams.authority.pem.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.certificate(REGISTRY)
    eventually(
        lambda: f"certificate_refused client=fd77:1::2 host={REGISTRY}" in entrepot.log,
        what="the refusal",
    )
    assert stranger.certificate(REGISTRY)
    reader, wanted = RecordReader(entrepot.data), Filter(outcome=Outcome.TUNNEL)
    eventually(lambda: reader.requests(wanted), what="the record of the tunnel")
    (stored,) = reader.requests(wanted)
    assert (stored.record.registry, stored.record.client) == (REGISTRY, "fd77:1::2")
    assert stored.record.road is Road.TRANSPARENT
    assert stored.record.sent > 500
    trusting = client_of(world, 6, entrepot.ca_pem)
    trusting._context.set_ciphers("ECDHE+AESGCM")  # noqa: SLF001 another program, by its looks
    assert trusting.get(f"https://{REGISTRY}/v2/").cache_status
    assert stranger.certificate(REGISTRY)
    assert (world.at(6)[REGISTRY], 443) in world.doors.connections, "at the address it chose"
    assert client_of(world, 4, entrepot.ca_pem).certificate(REGISTRY), "another client's fault"


def test_a_connection_that_nobody_redirected_is_refused(
    world: World, entrepot: Entrepot, family: int
) -> None:
    """Who connects to the port itself gets one clear answer, and no connection to itself."""
    gateway = "10.77.1.1" if family == 4 else "fd77:1::1"
    request = b"GET /v2/ HTTP/1.1\r\nHost: 10.77.1.1:3129\r\n\r\n"
    answer = exchange(world.networks.clients.connect(gateway, TRANSPARENT), request)
    assert answer.startswith(b"HTTP/1.1 421")
    assert b"scripts/redirect.sh" in answer
    assert "redirect_missing client=" in entrepot.log
    assert "Traceback" not in entrepot.log


@contextmanager
def rules(world: World, *words: str) -> Iterator[None]:
    """Have other rules than those of these tests for a while."""
    world.redirect("install", *words)
    try:
        yield
    finally:
        world.redirect("install", *RULES)


def test_a_public_address_is_refused(world: World, entrepot: Entrepot) -> None:
    """A client with a public address gets nothing here either, where the rules let it come."""
    world.networks.clients.script(f"ip address add {PUBLIC}/32 dev uplink")
    world.networks.gateway.script(f"ip route add {PUBLIC}/32 via 10.77.1.2")
    with rules(world, "--from", PUBLIC), world.networks.clients.entered():
        connection = socket.create_connection(
            (world.at(4)[WEB], 443), 30, source_address=(PUBLIC, 0)
        )
        assert exchange(connection, b"") == b""
    assert f'client_refused client={PUBLIC} reason="its address is public"' in entrepot.log
    assert "library_warned" not in entrepot.log


@pytest.fixture
def local(world: World, entrepot: Entrepot, folder: Path) -> Iterator[Entrepot]:
    """A proxy, not run by root, for what the gateway itself connects to from a public address."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    gateway = world.networks.gateway
    gateway.script(
        f"ip address add {PUBLIC}/32 dev lo; ip route change 10.77.2.0/24 dev outer src {PUBLIC}"
    )
    folder.chmod(0o777)
    local = ("--local", "--user", "nobody", "--port", str(OTHER_TRANSPARENT))
    with rules(world, *local), world.proxied(folder, user=NOBODY, other=True) as proxy:
        yield proxy
    gateway.script(f"ip route change 10.77.2.0/24 dev outer; ip address del {PUBLIC}/32 dev lo")


def test_the_machine_itself_is_a_client(world: World, local: Entrepot) -> None:
    """With --local its own connections come here, whatever its address, but not the proxy's."""
    context = ssl.create_default_context(cadata=local.ca_pem.decode())
    for family in (4, 6):
        client = RedirectedClient(world.networks.gateway, world.at(family), context)
        assert client.get(f"https://{HUB}/v2/").status == 200
        web = world.upstreams.web_authority.client_context()
        client = RedirectedClient(world.networks.gateway, world.at(family), web)
        assert client.get(f"https://{WEB}/").body == WEB_BODY
    assert "redirect_looped" not in local.log


def test_a_loop_is_broken(world: World, entrepot: Entrepot, folder: Path) -> None:
    """Rules that redirect the proxy's own connections too cost a connection, not the proxy."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    wrong = ("--local", "--user", "nobody", "--port", str(OTHER_TRANSPARENT))  # it runs as root
    with rules(world, *wrong), world.proxied(folder, other=True) as proxy:
        for family in (4, 6):
            address = world.at(family)[GREETER]
            connection = world.networks.gateway.connect(address, 443)
            assert exchange(connection, b"EHLO me\n") == b""
        assert proxy.log.count("redirect_looped host=") == 2


def test_a_tunnel_ends_when_nothing_passes(world: World, entrepot: Entrepot, folder: Path) -> None:
    """The watch on clients that do nothing knows a tunnel, which may rest twelve times as long."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    with (
        rules(world, "--port", str(OTHER_TRANSPARENT)),
        world.proxied(folder, other=True, idle="1s") as proxy,
    ):
        with world.networks.clients.connect(world.at(4)[GREETER], 443) as connection:
            connection.sendall(b"EHLO me\n")
            with suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass
        dropped = 'client_dropped client=10.77.1.2 reason="nothing passed the tunnel"'
        eventually(lambda: dropped in proxy.log, what="said")


def test_a_stop_lets_a_pull_get_its_next_layer(
    world: World, entrepot: Entrepot, folder: Path, faults: FaultServer
) -> None:
    """By a new connection, on this road too."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    path, content = faults.add_blob("app", b"late" * 100_000)
    content.gate = Gate(1000)
    following, _ = faults.add_blob("app", b"the next layer")
    with (
        rules(world, "--port", str(OTHER_TRANSPARENT)),
        world.proxied(folder, other=True) as proxy,
        client_of(world, 4, proxy.ca_pem).open("GET", f"https://{FAULT}{path}") as stream,
    ):
        assert stream.read(4) == b"late"
        same = client_of(world, 4, proxy.ca_pem)
        proxy.daemon.signal(signal.SIGTERM)
        eventually(lambda: "drain_begun" in proxy.log, what="it stops")
        assert same.get(f"https://{FAULT}{following}").body == b"the next layer"
        content.gate.open()
        assert len(stream.read()) == 400_000 - 4


def test_the_proxys_password_is_not_for_this_road(
    world: World, entrepot: Entrepot, folder: Path, faults: FaultServer
) -> None:
    """No client could show it here; a registry's login that is equal goes where it belongs."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    path = "/v2/app/tags/list"
    faults.routes[path] = status(200, b"here")
    with (
        rules(world, "--port", str(OTHER_TRANSPARENT)),
        world.proxied(folder, other=True, proxyauth="alice:wonderland") as proxy,
    ):
        client = client_of(world, 4, proxy.ca_pem)
        for shown in (None, basic("alice", "wonderland"), basic("bob", "builder")):
            fields = {"Authorization": shown} if shown else {}
            assert client.get(f"https://{FAULT}{path}", fields).body == b"here"
            assert faults.of(path=path)[-1].authorization == shown


def test_who_is_not_allowed_is_refused(world: World, entrepot: Entrepot, folder: Path) -> None:
    """--allow-client counts here too, for what would be tunnelled as well."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    with (
        rules(world, "--port", str(OTHER_TRANSPARENT)),
        world.proxied(folder, other=True, allow_client="127.0.0.1") as proxy,
    ):
        for host in (WEB, HUB):
            connection = world.networks.clients.connect(world.at(4)[host], 443)
            answer = exchange(connection, b"GET / HTTP/1.1\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403")
        connection = world.networks.clients.connect(world.at(4)[GREETER], 443)
        assert exchange(connection, b"EHLO me\n") == b""
        assert proxy.log.count("client_refused client=10.77.1.2 ") == 1


def test_through_a_corporate_proxy(world: World, entrepot: Entrepot, folder: Path) -> None:
    """Registries are asked for there by name, tunnels by the address that the client chose."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    addresses = world.addresses[WEB]
    tls = world.upstreams.nginx.tls_port
    corporate = CorporateProxy(
        [
            *world.upstreams.resolve,
            *(f"{where}:443:127.0.0.1:{tls}" for where in (addresses[0], f"[{addresses[1]}]")),
        ]
    )
    four, _ = world.networks.add_beyond(99)
    world.doors.open([four], 8080, corporate.port)
    url = corporate.url.replace(f"127.0.0.1:{corporate.port}", f"{four}:8080")
    try:
        with (
            rules(world, "--port", str(OTHER_TRANSPARENT)),
            world.proxied(folder, other=True, upstream_proxy=url) as proxy,
        ):
            for family in (4, 6):
                client = client_of(world, family, proxy.ca_pem)
                assert client.get(f"https://{HUB}/v2/").status == 200
                assert client.get(f"https://{HUB}/v2/acme/app/tags/list").status in (200, 404)
                web = client_of(world, family, world.upstreams.web_authority.pem.read_bytes())
                assert web.get(f"https://{WEB}/").body == WEB_BODY
    finally:
        corporate.stop()
    assert not corporate.refused
    assert {f"{HUB}:443", f"{addresses[0]}:443", f"[{addresses[1]}]:443"} <= {*corporate.targets}


def test_it_fails_closed(world: World, entrepot: Entrepot) -> None:
    """While no proxy listens, what is redirected fails, and what is not goes its way."""
    assert entrepot.daemon.running(), "its rules are put back afterwards"
    with rules(world, "--port", "3999"):
        address = world.at(4)[WEB]
        with pytest.raises(ConnectionRefusedError):
            world.networks.clients.connect(address, 443)
        world.networks.clients.connect(world.at(4)[PLAIN], 5000).close()
