"""Bodies over plain HTTP: the kernel sends them from the stored file."""

import http.client
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.images import MIB, Image, ImageFactory
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

NAME = "plain.example.test:5000/large:1"
IDLE = 2


@pytest.fixture
def image(images: ImageFactory, upstreams: Upstreams) -> Image:
    """More than the sockets between two processes hold."""
    image = images.image("plain bodies", [24 * MIB], compression="stored")
    upstreams.push(image, NAME)
    return image


@pytest.fixture
def mirror() -> int:
    return free_port()


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot", mirror: int, image: Image) -> Entrepot:
    """A mirror that has the layer."""
    proxy = start_entrepot(
        mirror=f"127.0.0.1:{mirror}=http://plain.example.test:5000", idle=f"{IDLE}s"
    )
    with closing(http.client.HTTPConnection("127.0.0.1", mirror, timeout=30)) as connection:
        connection.request("GET", path_of(image))
        assert connection.getresponse().read() == image.layers[0].read()
    proxy.await_stored([image.layers[0].digest])
    return proxy


@dataclass(frozen=True, slots=True)
class Stalled:
    """A client that has read the head of the layer and a little more."""

    socket: socket.socket
    held: frozenset[str]
    """What the proxy has open for it: its socket, which the loop waits on by a second one."""


@pytest.fixture
def stalled(proxy: Entrepot, mirror: int, image: Image) -> Iterator[Stalled]:
    with socket.create_connection(("127.0.0.1", mirror), timeout=20) as raw:
        raw.sendall(f"GET {path_of(image)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: twice_open(proxy), what="the loop waits on its socket")
        assert blobs_open(proxy)
        yield Stalled(raw, twice_open(proxy))


def path_of(image: Image) -> str:
    return f"/v2/large/blobs/{image.layers[0].digest}"


def written_by_kernel(proxy: Entrepot) -> int:
    """Bytes that the proxy wrote by write() or sendfile(): a socket's send() is not among them."""
    counted = Path(f"/proc/{proxy.pid}/io").read_text()
    found = re.search(r"^wchar: (\d+)$", counted, re.MULTILINE)
    assert found
    return int(found[1])


def opened(proxy: Entrepot) -> list[str]:
    """What each descriptor of the proxy is."""
    found = []
    for link in Path(f"/proc/{proxy.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def twice_open(proxy: Entrepot) -> frozenset[str]:
    names = opened(proxy)
    return frozenset(n for n in names if n.startswith("socket:") and names.count(n) > 1)


def blobs_open(proxy: Entrepot) -> list[str]:
    return [name for name in opened(proxy) if name.endswith(".val")]


def is_let_go(proxy: Entrepot, stalled: Stalled) -> bool:
    return not blobs_open(proxy) and stalled.held.isdisjoint(opened(proxy))


def test_a_connection_goes_on_after_what_the_kernel_sent(
    proxy: Entrepot, mirror: int, image: Image
) -> None:
    """Whole, in part, a HEAD and a page, in turn on one connection."""
    content, before = image.layers[0].read(), written_by_kernel(proxy)
    with closing(http.client.HTTPConnection("127.0.0.1", mirror, timeout=30)) as connection:
        connection.connect()
        kept = connection.sock
        for _ in range(2):
            connection.request("GET", path_of(image))
            assert connection.getresponse().read() == content
            connection.request("GET", path_of(image), headers={"Range": "bytes=100000-9000000"})
            assert connection.getresponse().read() == content[100_000:9_000_001]
            connection.request("HEAD", path_of(image))
            assert connection.getresponse().read() == b""
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
        assert connection.sock is kept
    assert written_by_kernel(proxy) - before > 2 * (len(content) + 8_900_000)


def test_a_request_through_the_proxy_is_answered_so_too(proxy: Entrepot, image: Image) -> None:
    """Absolute-form, as by HTTP_PROXY; through TLS the kernel cannot."""
    client, before = proxy.client(), written_by_kernel(proxy)
    url = f"http://plain.example.test:5000{path_of(image)}"
    assert client.get(url).body == image.layers[0].read()
    assert written_by_kernel(proxy) - before > 24 * MIB


def test_a_body_through_tls_is_not_sent_so(
    proxy: Entrepot, image: Image, upstreams: Upstreams
) -> None:
    upstreams.push(image, "ports.example.test:5443/large:1")
    client, url = proxy.client(), f"https://ports.example.test:5443{path_of(image)}"
    assert client.get(url).body == image.layers[0].read()
    before = written_by_kernel(proxy)
    assert client.get(url).body == image.layers[0].read()
    assert written_by_kernel(proxy) - before < MIB


def test_a_client_that_leaves_is_let_go(proxy: Entrepot, stalled: Stalled) -> None:
    """No descriptor stays, and nothing is left that a stop would wait for."""
    stalled.socket.close()
    eventually(lambda: is_let_go(proxy, stalled), what="let go")
    proxy.terminate()
    assert "transfers_unfinished" not in proxy.log


def test_a_client_that_takes_nothing_is_dropped(proxy: Entrepot, stalled: Stalled) -> None:
    """As on the other roads, after --idle; and new connections have the same descriptors."""
    eventually(lambda: "it takes nothing" in proxy.log, within=10 * IDLE, what="dropped")
    eventually(lambda: is_let_go(proxy, stalled), what="let go")
    assert sum(iter(lambda: len(stalled.socket.recv(1 << 20)), 0)) < 24 * MIB
    for _ in range(3):
        assert proxy.local("/healthz").status == 200
    assert "Traceback" not in proxy.log
