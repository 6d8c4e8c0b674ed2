"""Nobody is led through the proxy where their own address would not lead, nor back to the proxy.

The proxy is on a gateway (see rig.networks): its loopback, its two wires, its clients on one and
registries on the other, a public one among them. Names lead where its own `hosts` says.
"""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from rig.client import Answer
from rig.faults import Content, FaultServer, Handler, error, redirect, status
from rig.needs import need, need_root
from rig.networks import Doors, Network, Networks
from rig.process import program
from rig.proxy import Entrepot, Option

PORT, TRANSPARENT, MIRROR, HUB = 3128, 3129, 5000, 5001
OWN = "10.77.1.1"
NEAR, ALSO_NEAR = "10.77.2.20", "10.77.2.21"
FAR, LISTED, ACCOUNTED = "9.9.9.9", "9.9.9.10", "9.9.9.11"
"""Registries beyond: in a private network, and at public addresses."""
CLOSED = 0
"""The status of no answer but the end of the connection."""
SERVICE, REGISTRY = 8999, 8998
"""Ports of the gateway at which something listens, for itself and on one of its wires."""
SECRET = b"what the gateway's own services say"
NAMES = f"""
127.0.1.1 {socket.gethostname()}
127.0.0.1 localhost inward.test
::1 six.test
{OWN} own.test
{ALSO_NEAR} near.test
"""
SPELLINGS = (
    "127.0.0.1",
    "127.0.0.2",
    "localhost",
    "inward.test",
    "six.test",
    "own.test",
    OWN,
    "10.77.2.1",
    "0.0.0.0",  # noqa: S104 nobody listens
    "2130706433",
    "127.1",
    "0x7f000001",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    f"[::ffff:{OWN}]",
    "[fd77:1::1]",
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The proxy, what is around it, and what was connected to on its own machine."""

    proxy: Entrepot
    networks: Networks
    inner: Doors
    """Lead to `service` from the gateway's loopback and its own address."""
    service: FaultServer
    near: FaultServer
    """Behind `NEAR` and `ALSO_NEAR`."""
    far: FaultServer
    """Behind `FAR`, `LISTED` and `ACCOUNTED`."""

    def talk(self, where: Network, request: str, port: int = PORT, host: str = OWN) -> Answer:
        """Send a request to the gateway from a network; CONNECT answers have no body but errors."""
        with closing(where.connect(host, port)) as connection:
            connection.sendall(request.encode())
            response = http.client.HTTPResponse(connection, method=request.partition(" ")[0])
            with closing(response):
                try:
                    response.begin()
                except http.client.RemoteDisconnected:
                    return Answer(CLOSED, Message(), b"")
                tunnel = request.startswith("CONNECT") and response.status == 200
                body = b"" if tunnel else response.read()
                return Answer(response.status, response.headers, body)

    def connect(self, where: Network, place: str) -> Answer:
        return self.talk(where, f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n")

    def get(self, where: Network, url: str, more: str = "") -> Answer:
        """GET by absolute-form."""
        host = url.split("/")[2]
        head = f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
        return self.talk(where, head)

    @property
    def near_clients(self) -> Network:
        return self.networks.clients


@pytest.fixture(scope="module")
def gateway(rig_folder: Path) -> Iterator[Gateway]:
    need_root()
    need("ip", "nft", "nsenter", "unshare")
    with ExitStack() as stack:
        networks = Networks()
        stack.callback(networks.stop)
        servers = [FaultServer(None) for _ in range(3)]
        for server in servers:
            stack.callback(server.stop)
        service, near, far = servers
        public = (FAR, LISTED, ACCOUNTED)
        networks.beyond.script(
            "\n".join(
                [f"ip address add {one}/24 dev uplink" for one in (NEAR, ALSO_NEAR)]
                + [f"ip address add {one}/32 dev uplink" for one in public]
            )
        )
        networks.gateway.script(
            "ip route add 9.9.9.0/24 via 10.77.2.2\n"
            "nft add table ip in\n"
            "nft 'add chain ip in nat { type nat hook prerouting priority dstnat; }'\n"
            "nft add rule ip in nat iifname inner ip daddr 10.77.2.1 meta l4proto tcp"
            f" redirect to :{TRANSPARENT}"
        )
        inner, outer = Doors(networks.gateway), Doors(networks.beyond)
        stack.callback(inner.close)
        stack.callback(outer.close)
        for port in (SERVICE, REGISTRY):
            inner.open(["127.0.0.1", "::1", OWN], port, service.port)
        outer.open([NEAR, ALSO_NEAR], 80, near.port)
        outer.open(public, 80, far.port)
        proxy = _proxy(rig_folder / "reach", networks.gateway)
        stack.callback(proxy.kill9)
        proxy.start()
        yield Gateway(proxy, networks, inner, service, near, far)


def _proxy(folder: Path, network: Network, **more: Option) -> Entrepot:
    folder.mkdir()
    hosts, resolver, tables = folder / "hosts", folder / "resolv.conf", folder / "config.toml"
    hosts.write_text(NAMES)
    resolver.write_text("nameserver 127.0.0.1\n")
    tables.touch(0o600)
    tables.write_text(
        f'[registry."http://{ACCOUNTED}"]\nusername = "alice"\npassword = "wonderland"\n'
        'clients = ["127.0.0.0/8", "10.77.1.1"]\n'
    )
    bind = f"mount --bind {hosts} /etc/hosts; mount --bind {resolver} /etc/resolv.conf"
    options: dict[str, Option] = {
        "listen": f":{PORT}",
        "transparent": f":{TRANSPARENT}",
        "mirror": [f":{MIRROR}", f":{HUB}=docker.io"],
        "registry": LISTED,
        "config": str(tables),
        **more,
    }
    return Entrepot(
        folder,
        options,
        network=network,
        wrapper=[program("unshare"), "--mount", "sh", "-c", f'{bind}; exec "$@"', "sh"],
    )


@pytest.fixture(autouse=True)
def _afresh(gateway: Gateway) -> None:
    """Each test begins with a record that is empty, and with no routes."""
    for server in (gateway.service, gateway.near, gateway.far):
        server.reset()
    gateway.service.instead = status(200, SECRET)
    gateway.inner.connections.clear()


def led_in(gateway: Gateway) -> list[tuple[str, int]]:
    """The places of the gateway's own machine to which somebody was led."""
    return list(gateway.inner.connections)


def refused_lines(gateway: Gateway, place: str) -> int:
    return len(re.findall(rf"destination_refused .*host={re.escape(place)} ", gateway.proxy.log))


@pytest.mark.parametrize("where", ["its own machine", "elsewhere"])
def test_to_itself(gateway: Gateway, where: str) -> None:
    """No spelling of any port at which the process listens is led to, whoever asks."""
    network = gateway.networks.gateway if where == "its own machine" else gateway.near_clients
    seen = {
        (spelling, port): gateway.connect(network, f"{spelling}:{port}").status
        for spelling in SPELLINGS
        for port in (PORT, TRANSPARENT, MIRROR, HUB)
    }
    assert {place: got for place, got in seen.items() if got not in (400, 403)} == {}
    assert {got for (host, _), got in seen.items() if host.startswith(("127.0", OWN))} == {403}
    assert refused_lines(gateway, f"{OWN}:{PORT}")
    assert refused_lines(gateway, f"own.test:{PORT}")


def test_to_itself_by_its_name(gateway: Gateway) -> None:
    """What the machine calls itself may lead anywhere, but not here."""
    place = f"{socket.gethostname()}:{PORT}"
    assert gateway.connect(gateway.near_clients, place).status == 403


def test_to_itself_through_an_upstream_proxy(gateway: Gateway, folder: Path) -> None:
    """Whoever leads on would lead back: what is written as an address or as our name is refused."""
    port = PORT + 10
    proxy = _proxy(
        folder / "behind",
        gateway.networks.gateway,
        listen=f":{port}",
        transparent=None,
        mirror=None,
        upstream_proxy=f"http://{NEAR}:80",
    )
    proxy.start()
    try:
        for host in (OWN, "10.77.2.1", "127.0.0.1", "[fd77:1::1]", socket.gethostname()):
            head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
            assert gateway.talk(gateway.near_clients, head, port=port).status == 403
        assert gateway.near.requests == []
    finally:
        proxy.kill9()


@pytest.mark.parametrize("spelling", ["127.0.0.2", "own.test", OWN, "[::1]", "2130706433"])
def test_to_itself_in_absolute_form(gateway: Gateway, spelling: str) -> None:
    """No mirror's page, for which a connection to itself would be made; its own it has here.

    These are not for who names a loopback address, which is that of the client's own machine.
    """
    page = gateway.get(gateway.near_clients, f"http://{spelling}:{PORT}/healthz")
    named = spelling in ("own.test", OWN)
    assert (page.status, b"counters" in page.body) == ((200, True) if named else (403, False))
    for port, path in ((MIRROR, "/v2/"), (MIRROR, "/healthz")):
        answer = gateway.get(gateway.near_clients, f"http://{spelling}:{port}{path}")
        assert answer.status in (400, 403, 502)
        assert b"counters" not in answer.body


def test_to_itself_by_redirection(gateway: Gateway) -> None:
    """Neither by the address that a redirected client chose, nor by the name that it says."""
    gateway.service.instead = None
    gateway.service.routes["/healthz"] = status(200, SECRET)
    for port in (PORT, MIRROR, SERVICE, REGISTRY):
        for name in ("x.test", "own.test", "127.0.0.1", "six.test", "inward.test"):
            head = f"GET /healthz HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
            answer = gateway.talk(gateway.near_clients, head, port=port, host="10.77.2.1")
            to_a_service = name == "own.test" and port in (SERVICE, REGISTRY)
            assert b"counters" not in answer.body
            assert SECRET not in answer.body or to_a_service
    assert set(led_in(gateway)) <= {(OWN, SERVICE), (OWN, REGISTRY)}
    assert refused_lines(gateway, f"10.77.2.1:{PORT}")


def test_a_client_elsewhere_is_not_led_to_loopback(gateway: Gateway) -> None:
    """By CONNECT or absolute-form, by address or name; one on the machine is, as without us."""
    for name in ("127.0.0.1", "localhost", "inward.test", "six.test", "[::1]"):
        assert gateway.connect(gateway.near_clients, f"{name}:{SERVICE}").status == 403
        answer = gateway.get(gateway.near_clients, f"http://{name}:{SERVICE}/")
        assert answer.status in (403, 502)
        assert SECRET not in answer.body
    assert led_in(gateway) == []
    for name in ("127.0.0.1", "inward.test"):
        assert gateway.connect(gateway.networks.gateway, f"{name}:{SERVICE}").status == 200
        assert gateway.get(gateway.networks.gateway, f"http://{name}:{SERVICE}/").body == SECRET
    assert gateway.connect(gateway.near_clients, "169.254.169.254:80").status == 403


def test_the_machines_other_services_are_reached_by_its_own_address(gateway: Gateway) -> None:
    """A registry on the proxy's machine is one that its clients could reach by themselves."""
    assert gateway.connect(gateway.near_clients, f"{OWN}:{SERVICE}").status == 200
    assert gateway.get(gateway.near_clients, f"http://own.test:{SERVICE}/").body == SECRET


def test_what_is_held_of_a_loopback_registry_is_for_its_machine(gateway: Gateway) -> None:
    """A decision for one who may go there is none for one who may not."""
    gateway.service.instead = None
    path, _ = gateway.service.add_blob("acme/own", SECRET * 100)
    digest = path.rpartition("/")[2]
    for host in ("127.0.0.1", "inward.test"):
        url = f"http://{host}:{REGISTRY}{path}"
        assert gateway.get(gateway.networks.gateway, url).body == SECRET * 100
        gateway.proxy.await_stored([digest])
        assert gateway.get(gateway.networks.gateway, url).cache_status == "entrepot; hit"
        assert gateway.get(gateway.near_clients, url).status == 403


INWARD = (
    f"http://127.0.0.1:{SERVICE}/x",
    f"http://127.0.0.2:{SERVICE}/x",
    f"http://inward.test:{SERVICE}/x",
    f"http://[::1]:{SERVICE}/x",
    f"http://[::ffff:127.0.0.1]:{SERVICE}/x",
    f"http://{OWN}:{SERVICE}/x",
    f"http://own.test:{SERVICE}/x",
    f"http://127.0.0.1:{PORT}/healthz",
    f"http://{OWN}:{PORT}/healthz",
    "http://169.254.169.254/latest/meta-data/",
)


@pytest.mark.parametrize("from_", [FAR, NEAR])
def test_a_redirect_inward_is_not_followed(gateway: Gateway, from_: str) -> None:
    """Of a blob or a manifest, by GET or HEAD, from whichever registry: a clear 502."""
    server = gateway.far if from_ == FAR else gateway.near
    for number, place in enumerate(INWARD):
        blob, manifest = f"/v2/a/blobs/sha256:{number:064}", f"/v2/a/manifests/t{number}"
        server.routes |= {blob: redirect(place), manifest: redirect(place)}
        for path in (blob, manifest):
            answer = gateway.get(gateway.networks.gateway, f"http://{from_}{path}")
            assert answer.status == 502
            assert json.loads(answer.body)["errors"]
            assert SECRET not in answer.body
    assert led_in(gateway) == []


@pytest.mark.parametrize(
    ("from_", "to", "is_followed"),
    [
        (NEAR, ALSO_NEAR, True),
        (NEAR, "near.test", True),
        (NEAR, FAR, True),
        (FAR, LISTED, True),
        (FAR, NEAR, False),
        (FAR, "near.test", False),
        (LISTED, NEAR, True),
    ],
)
def test_a_private_network_is_for_its_own_registries(
    gateway: Gateway,
    from_: str,
    to: str,
    is_followed: bool,  # noqa: FBT001 a column of the table
) -> None:
    """And for those that the administrator listed; their content networks are there too."""
    content = f"{from_} {to}".encode() * 100
    path, blob = gateway.far.add_blob("acme/cdn", content)
    gateway.near.routes["/cdn"] = gateway.far.routes["/cdn"] = blob
    source = gateway.near if from_ == NEAR else gateway.far
    source.routes[path] = redirect(f"http://{to}/cdn")
    answer = gateway.get(gateway.near_clients, f"http://{from_}{path}")
    assert (answer.status, answer.body == content) == ((200, True) if is_followed else (502, False))


def challenge(realm: str) -> Handler:
    return error(401, "UNAUTHORIZED", "who?", {"WWW-Authenticate": f'Bearer realm="{realm}"'})


def test_a_realm_inward_is_not_asked(gateway: Gateway) -> None:
    """A registry with an account names the token server: it gets neither login nor request."""
    for number, place in enumerate(INWARD):
        path = f"/v2/acme/r{number}/manifests/1"
        gateway.far.routes[path] = challenge(place)
        url = f"http://{ACCOUNTED}{path}"
        assert gateway.get(gateway.networks.gateway, url).status == 401
    assert led_in(gateway) == []
    assert "login_withheld" in gateway.proxy.log


def test_a_realm_at_the_registry_itself_is_asked(gateway: Gateway) -> None:
    """The rule takes nothing from a registry that gives its own tokens."""
    gateway.far.routes["/token"] = status(200, b'{"token": "t"}')
    path = "/v2/acme/own/manifests/1"
    gateway.far.routes[path] = challenge(f"http://{ACCOUNTED}/token")
    gateway.get(gateway.networks.gateway, f"http://{ACCOUNTED}{path}")
    assert gateway.far.of(path="/token")


@pytest.mark.parametrize("host", ["127.0.0.1", "inward.test", "own.test", OWN, "[::1]", "six.test"])
def test_a_mirror_asks_nothing_of_its_own_machine(gateway: Gateway, host: str) -> None:
    """Neither by `?ns=` nor by path; whatever is there, the answer is the same as for nothing."""
    for port in (SERVICE, PORT):
        place = f"{host}:{port}"
        paths = [f"/v2/app/manifests/1?ns={place}"]
        if not host.startswith("["):
            paths.append(f"/v2/{place}/app/manifests/1")
        for path in paths:
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = gateway.talk(gateway.near_clients, head, port=MIRROR)
            assert answer.status == 404
    assert led_in(gateway) == []


# What comes of a redirect


PAGE = status(200, b"<html>sign in</html>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_failure_elsewhere_is_said_in_our_own_words(gateway: Gateway, code: int) -> None:
    """Its status counts; neither its fields nor its body are the registry's."""
    gateway.far.routes["/x"] = status(
        code, SECRET, {"WWW-Authenticate": "Basic", "Set-Cookie": "a"}
    )
    blob, manifest = f"/v2/a/blobs/sha256:{code:064}", f"/v2/a/manifests/{code}"
    gateway.near.routes |= {path: redirect(f"http://{FAR}/x") for path in (blob, manifest)}
    for path in (blob, manifest):
        answer = gateway.get(gateway.networks.gateway, f"http://{NEAR}{path}")
        assert answer.status == code
        assert json.loads(answer.body)["errors"]
        assert not {"WWW-Authenticate", "Set-Cookie"} & set(answer.headers)


@pytest.mark.parametrize("place", ["/page", f"http://{FAR}/page"])
def test_a_web_page_is_no_manifest(gateway: Gateway, place: str) -> None:
    """Neither the registry's own nor one to which it sends: 502, said as an error of ours."""
    gateway.near.routes["/page"] = gateway.far.routes["/page"] = PAGE
    by_digest = f"sha256:{len(place):064}"
    for reference in ("page", by_digest):
        path = f"/v2/web/manifests/{reference}"
        gateway.near.routes[path] = redirect(place)
        for method in ("GET", "HEAD"):
            url = f"http://{NEAR}{path}"
            head = f"{method} {url} HTTP/1.1\r\nHost: {NEAR}\r\nConnection: close\r\n\r\n"
            answer = gateway.talk(gateway.networks.gateway, head)
            assert answer.status == 502
            assert answer.headers["Content-Type"] == "application/json"


def test_a_manifest_elsewhere_is_what_it_hashes_to(gateway: Gateway) -> None:
    """By tag through another host, as registry.k8s.io has it; one that lies of itself is none."""
    media_type = "application/vnd.oci.image.index.v1+json"
    body = b'{"schemaVersion": 2, "manifests": []}'
    gateway.far.routes["/m"] = Content(body, media_type)
    gateway.far.routes["/lie"] = Content(body, media_type, digest=f"sha256:{1:064}")
    gateway.near.routes |= {
        "/v2/k/manifests/1": redirect(f"http://{FAR}/m"),
        "/v2/k/manifests/2": redirect(f"http://{FAR}/lie"),
    }
    answer = gateway.get(gateway.networks.gateway, f"http://{NEAR}/v2/k/manifests/1")
    assert (answer.status, answer.body) == (200, body)
    assert gateway.get(gateway.networks.gateway, f"http://{NEAR}/v2/k/manifests/2").status == 502


def test_a_head_elsewhere_describes_content_and_no_more(gateway: Gateway) -> None:
    """Its size and type; what else a content network says is for those who asked it."""
    path = f"/v2/a/blobs/sha256:{7:064}"
    gateway.far.routes["/b"] = Content(b"x" * 1000, headers={"Set-Cookie": "a=b", "X-Amz": "1"})
    gateway.near.routes[path] = redirect(f"http://{FAR}/b")
    head = f"HEAD http://{NEAR}{path} HTTP/1.1\r\nHost: {NEAR}\r\nConnection: close\r\n\r\n"
    answer = gateway.talk(gateway.networks.gateway, head)
    assert (answer.status, answer.headers["Content-Length"]) == (200, "1000")
    assert not {"Set-Cookie", "X-Amz"} & set(answer.headers)
