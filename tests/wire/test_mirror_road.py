"""The mirror road at the socket: a registry over plain HTTP, for what anybody may have."""

import http.client
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer
from rig.faults import FaultServer, status
from rig.images import ANY_MANIFEST, Image, ImageFactory
from rig.ports import free_port
from rig.proxy import Entrepot, Option, Runner
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot


@dataclass(frozen=True, slots=True)
class MirrorClient:
    """Asks one mirror, on a connection for each request."""

    port: int
    host: str = "127.0.0.1"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers)

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as connection:
            connection.request(method, path, headers={"Accept": ANY_MANIFEST, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def pull(self, image: Image, name: str, query: str = "") -> None:
        """Pull by tag 1 and by digest, and see that everything is as it was pushed."""
        assert self.get(f"/v2/{name}/manifests/1{query}").body == image.root.body
        for blob in image.blobs:
            assert self.get(f"/v2/{name}/blobs/{blob.digest}{query}").body == blob.read()


@pytest.fixture(scope="module")
def refusing(rig_folder: Path, upstreams: Upstreams) -> Iterator[tuple[int, int]]:
    """The same mirrors, for what leaves nothing in a cache."""
    hub, any_ = free_port(), free_port()
    options: dict[str, Option] = {
        "upstream_ca": str(upstreams.authority.pem),
        "resolve": upstreams.resolve,
        "mirror": [f"127.0.0.1:{hub}=docker.io", f"127.0.0.1:{any_}"],
    }
    proxy = Entrepot(rig_folder / "refusing-mirror", options)
    proxy.start()
    yield hub, any_
    proxy.kill9()


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", ports: tuple[int, int]) -> Entrepot:
    """A mirror of Docker Hub, and one of any registry."""
    hub, any_ = ports
    return start_entrepot(mirror=[f"127.0.0.1:{hub}=docker.io", f"127.0.0.1:{any_}"])


@pytest.fixture
def hub(proxy: Entrepot, ports: tuple[int, int]) -> MirrorClient:  # noqa: ARG001 - it listens
    return MirrorClient(ports[0])


@pytest.fixture
def anys(proxy: Entrepot, ports: tuple[int, int]) -> MirrorClient:  # noqa: ARG001 - it listens
    return MirrorClient(ports[1])


HUB = "registry-1.docker.io"
EMPTY = b'{"repositories":[]}\n'


def test_the_catalog_is_what_was_pulled(
    hub: MirrorClient, upstreams: Upstreams, images: ImageFactory
) -> None:
    """As distribution has it, to the byte: nothing at first, then the names of the upstream."""
    image = images.image("mirror catalog")
    upstreams.push(image, f"{HUB}/library/redis:1")
    first = hub.get("/v2/_catalog")
    assert (first.status, first.body) == (200, EMPTY)
    assert first.headers["Content-Type"] == "application/json; charset=utf-8"
    assert first.headers["Content-Length"] == "20"
    hub.pull(image, "library/redis")
    mark = upstreams.mark()
    assert hub.get("/v2/_catalog").body == b'{"repositories":["library/redis"]}\n'
    assert hub.get("/v2/library/redis/tags/list").body == (
        b'{"name":"library/redis","tags":["1"]}\n'
    )
    assert hub.request("HEAD", "/v2/_catalog").headers["Content-Length"] == "35"
    unknown = hub.get("/v2/library/other/tags/list")
    assert (unknown.status, error_code(unknown)) == (404, "NAME_UNKNOWN")
    assert upstreams.requests(mark) == ()


def test_a_second_pull_takes_nothing_from_upstream_but_a_head(
    hub: MirrorClient, proxy: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What the other roads do holds here: one fetch, a HEAD for a tag, ranges, conditions."""
    image = images.image("mirror warm")
    upstreams.push(image, f"{HUB}/library/warm:1")
    hub.pull(image, "library/warm")
    proxy.await_stored(blob.digest for blob in image.blobs)
    mark = upstreams.mark()
    hub.pull(image, "library/warm")
    assert [one.method for one in upstreams.requests(mark)] == ["HEAD"]
    layer = image.layers[0]
    path = f"/v2/library/warm/blobs/{layer.digest}"
    part = hub.get(path, {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, layer.read()[10:20])
    assert part.cache_status == "entrepot; hit"
    assert hub.get(path, {"If-None-Match": f'"{layer.digest}"'}).status == 304
    head = hub.request("HEAD", path)
    assert (head.status, int(head.headers["Content-Length"])) == (200, layer.size)


def test_any_registry_is_named_by_the_client(
    anys: MirrorClient, proxy: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """By containerd's ns, or first in the name, as the catalog has it."""
    image = images.image("mirror any")
    upstreams.push(image, f"{HUB}/library/any:1")
    upstreams.push(image, "ports.example.test:5443/app:1")
    anys.pull(image, "library/any", "?ns=docker.io")
    anys.pull(image, "app", "?ns=ports.example.test%3A5443")  # as Go encodes it
    proxy.await_stored(blob.digest for blob in image.blobs)
    mark = upstreams.mark()
    anys.pull(image, "ports.example.test:5443/app")
    assert upstreams.requests(mark).where(lambda one: one.method != "HEAD") == ()
    assert anys.get("/v2/_catalog").json() == {
        "repositories": ["docker.io/library/any", "ports.example.test:5443/app"]
    }
    assert anys.get("/v2/_catalog?ns=docker.io").json() == {"repositories": ["library/any"]}
    for path in (
        "/v2/ports.example.test:5443/app/tags/list",
        "/v2/docker.io/library/any/tags/list",
    ):
        assert anys.get(path).json()["tags"] == ["1"]


def test_a_mirror_that_is_taken_for_a_proxy_says_so(proxy: Entrepot, hub: MirrorClient) -> None:
    """By CONNECT or in absolute-form: with what to do instead, and one line in the log."""
    said = f"this port is a mirror, no proxy: use port {proxy.port} as the proxy"
    for request in (
        "CONNECT registry-1.docker.io:443 HTTP/1.1\r\nHost: registry-1.docker.io:443\r\n\r\n",
        "GET http://other.example.test/v2/ HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
        "POST http://other.example.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
    ):
        with closing(socket.create_connection((hub.host, hub.port), 20)) as sock:
            sock.sendall(request.encode())
            with closing(http.client.HTTPResponse(sock, method="GET")) as response:
                response.begin()
                # Of an answer to CONNECT, docker shows what follows the status.
                assert (response.status, response.reason) == (421, f"Misdirected Request ({said})")
                assert said.encode() in response.read()
    (line,) = (line for line in proxy.log.splitlines() if "port_mistaken" in line)
    hint = f"use port {proxy.port} as the proxy"
    assert line.endswith(f'reason="this port is a mirror, no proxy" hint="{hint}"')
    assert proxy.counter("port_mistaken") == 3


@pytest.mark.parametrize("named", ["127.0.0.1", "localhost"])
def test_a_mirror_may_be_asked_by_its_whole_url(hub: MirrorClient, named: str) -> None:
    """A server takes absolute-form (RFC 9112 section 3.2.2), as of who sets `http_proxy` to it."""
    assert hub.get(f"http://{named}:{hub.port}/v2/").body == b"{}"
    assert b"BEGIN CERTIFICATE" in hub.get(f"http://{named}:{hub.port}/ca.pem").body


def test_a_list_has_pages(anys: MirrorClient, upstreams: Upstreams, images: ImageFactory) -> None:
    """Each page links to the next, over all registries; the last to none."""
    image = images.image("mirror pages")
    hub = [f"library/{name}" for name in ("a", "a-b", "a/b")]
    names = [*(f"docker.io/{name}" for name in hub), "ports.example.test:5443/z"]
    for name in names:
        upstreams.push(image, f"{name.replace('docker.io', HUB)}:1")
        anys.get(f"/v2/{name}/manifests/1")
    upstreams.push(image, f"{HUB}/library/a:2")
    anys.get("/v2/library/a/manifests/2?ns=docker.io")
    assert pages(anys, "/v2/_catalog?n=1", "repositories") == [[name] for name in names]
    assert pages(anys, "/v2/_catalog?n=3", "repositories") == [names[:3], names[3:]]
    assert pages(anys, "/v2/_catalog?n=4", "repositories") == [names]
    assert pages(anys, "/v2/_catalog?ns=docker.io&n=2", "repositories") == [hub[:2], hub[2:]]
    assert pages(anys, "/v2/library/a/tags/list?n=1&ns=docker.io", "tags") == [["1"], ["2"]]
    assert pages(anys, "/v2/docker.io/library/a/tags/list?n=1", "tags") == [["1"], ["2"]]
    assert pages(anys, "/v2/_catalog?n=0", "repositories") == [[]]
    for wrong in ("-1", "x", ""):
        refused = anys.get(f"/v2/_catalog?n={wrong}")
        assert (refused.status, error_code(refused)) == (400, "PAGINATION_NUMBER_INVALID")


def test_what_somebody_pulled_with_a_login_does_not_show(
    anys: MirrorClient, proxy: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: neither in a list, nor to a client that shows that login here."""
    image = images.image("mirror private")
    upstreams.push(image, "registry.example.test/private/app:1")
    client, layer = proxy.client(), image.layers[0]
    url = "https://registry.example.test/v2/private/app"
    manifest = f"{url}/manifests/1"
    alice = {"Authorization": client.authorization(manifest, "alice", "wonderland")}
    assert client.manifest(manifest, alice).status == 200
    assert client.get(f"{url}/blobs/{layer.digest}", alice).status == 200
    client.await_stored()
    mark = upstreams.mark()
    for path in ("manifests/1", f"manifests/{image.digest}", f"blobs/{layer.digest}"):
        for headers in ({}, alice, {"Cookie": "a=b"}):
            answer = anys.get(f"/v2/private/app/{path}?ns=registry.example.test", headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (404, None)
            assert error_code(answer).endswith("_UNKNOWN")
    assert anys.get("/v2/_catalog").body == EMPTY
    assert anys.get("/v2/private/app/tags/list?ns=registry.example.test").status == 404
    token = alice["Authorization"].removeprefix("Bearer ")
    assert token not in proxy.log
    shown = upstreams.requests(mark)
    assert shown.of(authorization="basic") == ()
    assert {one.status for one in shown if one.kind != "token"} == {401}


@pytest.mark.parametrize(("clients", "given"), [("127.0.0.0/8", True), ("10.1.0.0/16", False)])
def test_what_an_account_may_read_is_for_the_clients_that_get_it(
    start_entrepot: "StartEntrepot",
    folder: Path,
    upstreams: Upstreams,
    images: ImageFactory,
    clients: str,
    given: bool,  # noqa: FBT001
) -> None:
    """The mirror asks as the account, and lists to its clients what that was given."""
    image, port, file = images.image("mirror account"), free_port(), folder / "account.toml"
    upstreams.push(image, "registry.example.test/private/mirrored:1")
    file.touch(0o600)
    file.write_text(
        f'[registry."registry.example.test"]\nclients = ["{clients}"]\n'
        'username = "alice"\npassword = "wonderland"\n'
    )
    proxy = start_entrepot(config=str(file), mirror=f"127.0.0.1:{port}=registry.example.test")
    client = MirrorClient(port)
    assert client.get("/v2/_catalog").body == EMPTY
    if given:
        client.pull(image, "private/mirrored")
        assert client.get("/v2/_catalog").json() == {"repositories": ["private/mirrored"]}
        assert client.get("/v2/private/mirrored/tags/list").json()["tags"] == ["1"]
    else:
        assert client.get("/v2/private/mirrored/manifests/1").status == 404
        assert client.get("/v2/_catalog").body == EMPTY
    assert "wonderland" not in proxy.log


def test_a_registry_over_plain_http_takes_the_administrators_word(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """Named by --mirror it is reached, by ns too; a client alone cannot leave TLS out."""
    image, one, any_ = images.image("mirror plain"), free_port(), free_port()
    upstreams.push(image, "plain.example.test:5000/app:1")
    start_entrepot(mirror=[f"127.0.0.1:{any_}"])
    assert MirrorClient(any_).get("/v2/app/manifests/1?ns=plain.example.test:5000").status == 404
    given, any_ = f"127.0.0.1:{one}=http://plain.example.test:5000", free_port()
    start_entrepot(mirror=[given, f"127.0.0.1:{any_}"])
    MirrorClient(one).pull(image, "app")
    MirrorClient(any_).pull(image, "app", "?ns=plain.example.test:5000")
    assert MirrorClient(any_).get("/v2/_catalog").json() == {
        "repositories": ["plain.example.test:5000/app"]
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 404, "NAME_UNKNOWN"),
        ("ns=docker.io&ns=ghcr.io", 400, "NAME_INVALID"),
        ("ns=", 400, "NAME_INVALID"),
        ("ns=http%3A%2F%2Fplain.example.test:5000", 400, "NAME_INVALID"),
        ("ns=a:b@docker.io", 400, "NAME_INVALID"),
        ("ns=docker.io%0d%0aX:y", 400, "NAME_INVALID"),
        ("ns=docker.io%2F..", 400, "NAME_INVALID"),
        ("ns=2130706433", 400, "NAME_INVALID"),
        ("&".join(["ns=docker.io"] * 50), 400, "NAME_INVALID"),
    ],
)
def test_a_namespace_that_names_no_registry_is_refused(
    refusing: tuple[int, int], query: str, status: int, code: str
) -> None:
    answer = MirrorClient(refusing[1]).get(f"/v2/library/x/manifests/1?{query}")
    assert (answer.status, error_code(answer)) == (status, code)


def test_no_host_but_a_registry_is_reached(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer
) -> None:
    """What is asked for, and is none, has one answer: it tells nothing of what is there."""
    port = free_port()
    proxy = start_entrepot(
        mirror=f"127.0.0.1:{port}",
        resolve=[*upstreams.resolve, *faults.resolve, f"a.localhost:443:127.0.0.1:{faults.port}"],
    )
    faults.routes["/v2/"] = status(200, b"{}")  # what any web server may say
    mark, answers = upstreams.mark(), set()
    hosts = ["127.0.0.1", f"127.0.0.1:{faults.port}", f"127.0.0.1:{proxy.port}", "[::1]:22"]
    hosts += ["a.localhost", "169.254.169.254:80", "fault.example.test", "plainweb.example.test"]
    for host in [*hosts, "nowhere.example.test", f"nowhere.example.test:{proxy.port}"]:
        answer = MirrorClient(port).get(f"/v2/x/manifests/1?ns={host}")
        answers.add((answer.status, answer.body))
    assert len(answers) == 1, answers
    ((code, body),) = answers
    assert code == 404
    assert b"reaches no registry" in body
    assert [one.target for one in upstreams.requests(mark)] == []  # its certificate is not trusted
    assert [(one.path, one.host) for one in faults.of()] == [("/v2/", "fault.example.test")]


def test_only_what_is_listed_is_reached(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """--only-listed holds on this road; a registry that --mirror names is listed by that."""
    one, any_ = free_port(), free_port()
    image = images.image("mirror listed")
    for name in ("hub.example.test/app:1", f"{HUB}/library/app:1"):
        upstreams.push(image, name)
    mirrors = [f"127.0.0.1:{one}=docker.io", f"127.0.0.1:{any_}"]
    start_entrepot(mirror=mirrors, only_listed=True, registry="hub.example.test")
    MirrorClient(one).pull(image, "library/app")
    client = MirrorClient(any_)
    client.pull(image, "library/app", "?ns=docker.io")
    client.pull(image, "app", "?ns=hub.example.test")
    assert client.get("/v2/x/manifests/1?ns=target.example.test").status == 404


def test_a_mirror_of_one_registry_is_of_no_other(
    hub: MirrorClient, upstreams: Upstreams, images: ImageFactory
) -> None:
    image = images.image("mirror one")
    upstreams.push(image, f"{HUB}/library/one:1")
    assert hub.get("/v2/library/one/manifests/1?ns=docker.io").status == 200
    answer = hub.get("/v2/library/one/manifests/1?ns=hub.example.test")
    assert (answer.status, error_code(answer)) == (404, "NAME_UNKNOWN")
    assert hub.get("/v2/docker.io/library/one/manifests/1").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v2/library/x/manifests/1", 405),
        ("DELETE", "/v2/library/x/manifests/1", 405),
        ("POST", "/v2/library/x/blobs/uploads/", 405),
        ("PATCH", "/v2/library/x/blobs/uploads/1", 405),
        ("POST", "/v2/", 405),
        ("GET", "/v2/library/x/blobs/uploads/1", 404),
        ("GET", "/v2/library/x", 404),
        ("GET", "/v2/_other", 404),
        ("GET", "/v2/library/x/manifests/1?digest=1", 404),
        ("GET", "/v2/library/../x/manifests/1", 404),
        ("GET", "/v2/", 200),
        ("HEAD", "/v2", 200),
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/ca.pem", 200),
        ("GET", "/elsewhere", 404),
        ("PUT", "/healthz", 405),
    ],
)
def test_a_mirror_is_for_pulling(
    refusing: tuple[int, int], upstreams: Upstreams, method: str, path: str, status: int
) -> None:
    """What is not for pulling is refused here, and nothing of it goes upstream."""
    mark = upstreams.mark()
    answer = MirrorClient(refusing[0]).request(method, path)
    assert answer.status == status
    assert upstreams.requests(mark) == ()
    if path.startswith("/v2"):
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    if status == 405:
        assert (error_code(answer), answer.headers["Allow"]) == ("UNSUPPORTED", "GET, HEAD")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v2/ HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /v2/ HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /v2/ HTTP/1.1\r\nHost: what ever\r\n\r\n", b"200"),
        (b"GET http://elsewhere.example.test/v2/ HTTP/1.1\r\nHost: x\r\n\r\n", b"421"),
        (b"CONNECT hub.example.test:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"421"),
        (b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\nA: b\r\n" + b"x: y\r\n" * 300 + b"\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
    ],
)
def test_the_head_is_judged_as_on_the_other_roads(
    refusing: tuple[int, int], sent: bytes, status: bytes
) -> None:
    """Any Host will do; what is malformed, a CONNECT or TLS is refused, and the end is at once."""
    with socket.create_connection(("127.0.0.1", refusing[0]), timeout=10) as raw:
        raw.sendall(sent)
        assert raw.recv(1000).split()[1] == status


def test_a_body_that_nobody_wants_is_not_waited_for(refusing: tuple[int, int]) -> None:
    """A small one is read, and refused; a large one is refused at once, as the last."""
    for size in (100, 10_000_000):
        with socket.create_connection(("127.0.0.1", refusing[0]), timeout=10) as raw:
            head = f"PUT /v2/x/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
            raw.sendall(head.encode() + b"x" * 100)
            answer = raw.recv(1000)
            assert answer.split()[1] == b"405"
            assert (b"Connection: close" in answer) == (size > 100)


def test_the_registrys_answer_counts_for_what_is_not_cached(
    refusing: tuple[int, int], upstreams: Upstreams
) -> None:
    """Engines go on to the registry itself at a 404, and at a 502 as well."""
    hub = MirrorClient(refusing[0])
    answer = hub.get("/v2/library/unknown/manifests/1")
    assert (answer.status, error_code(answer)) == (404, "MANIFEST_UNKNOWN")
    with upstreams.down():
        answer = hub.get("/v2/library/unknown/manifests/1")
    assert (answer.status, error_code(answer)) == (502, "UNAVAILABLE")


def test_what_was_pulled_is_there_while_the_registry_is_not(
    hub: MirrorClient, proxy: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A tag as it last was, and marked so; the catalog as ever."""
    image = images.image("mirror away")
    upstreams.push(image, f"{HUB}/library/away:1")
    hub.pull(image, "library/away")
    proxy.await_stored(blob.digest for blob in image.blobs)
    with upstreams.down():
        answer = hub.get("/v2/library/away/manifests/1")
        assert answer.cache_status == "entrepot; hit; detail=stale"
        assert "299" in answer.headers["Warning"]
        hub.pull(image, "library/away")
        assert hub.get("/v2/_catalog").json() == {"repositories": ["library/away"]}


def test_referrers_are_the_registrys(start_entrepot: "StartEntrepot", faults: FaultServer) -> None:
    """They are not cached; the next page is to be had at the mirror too."""
    port, path = free_port(), f"/v2/app/referrers/sha256:{'0' * 64}"
    start_entrepot(mirror=f"127.0.0.1:{port}", registry="fault.example.test")
    headers = {"Link": f'<{path}?last=1>; rel="next"', "Set-Cookie": "a=b"}
    faults.routes[path] = status(200, b'{"manifests":[]}', headers)
    answer = MirrorClient(port).get(f"{path}?artifactType=x&ns=fault.example.test")
    assert (answer.status, answer.body) == (200, b'{"manifests":[]}')
    assert answer.headers["Link"] == f'<{path}?last=1&ns=fault.example.test>; rel="next"'
    assert answer.headers["Set-Cookie"] is None
    assert answer.cache_status == "entrepot; fwd=bypass; detail=referrers"
    (seen,) = faults.of(path=path)
    assert seen.query == "artifactType=x"


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_a_mirror_listens_where_it_is_told(
    start_entrepot: "StartEntrepot", runner: "Runner"
) -> None:
    """On IPv6 too; the log says where, and of which registry."""
    four, six = free_port(), free_port()
    mirrors = [f"127.0.0.1:{four}=docker.io", f"[::1]:{six}"]
    proxy = start_entrepot(runner=runner, mirror=mirrors)
    assert f'mirrors="127.0.0.1:{four}=docker.io,[::1]:{six}"' in proxy.log
    assert f"on=127.0.0.1:{proxy.port} " in proxy.log
    for client in (MirrorClient(four), MirrorClient(six, "::1")):
        assert client.get("/v2/").body == b"{}"


def error_code(answer: Answer) -> str:
    errors = answer.json()["errors"]
    assert isinstance(errors, list)
    return str(errors[0]["code"])


def pages(client: MirrorClient, path: str, key: str) -> list[object]:
    """Return what is listed under ``key``, page by page, as the links lead."""
    found = []
    while path:
        answer = client.get(path)
        found.append(answer.json()[key])
        link = re.fullmatch('<(.*)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else ""
    return found
