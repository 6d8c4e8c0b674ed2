"""Clients that read parts of a blob, by the traces of their requests: cold, warm, and offline."""

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig.client import Stream
from rig.images import MIB, Blob, ImageFactory
from rig.part_traces import TRACES, Open, Trace
from rig.ports import free_port
from rig.proxy import Entrepot, Option
from rig.upstreams import Upstreams

HOST = "ports.example.test:5443"
SIZE = 26 * MIB


@dataclass(frozen=True, slots=True)
class Reached:
    """A proxy, and one repository's blobs by both its roads."""

    proxy: Entrepot
    mirror: int

    def by_proxy(self, path: str) -> Open:
        client = self.proxy.client()
        return lambda method, headers: client.open(method, f"https://{HOST}{path}", headers)

    def by_mirror(self, path: str) -> Open:
        def opened(method: str, headers: Mapping[str, str]) -> Stream:
            connection = http.client.HTTPConnection("127.0.0.1", self.mirror, timeout=60)
            connection.request(method, f"{path}?ns={HOST}", headers=dict(headers))
            return Stream(connection)

        return opened


@pytest.fixture(scope="module")
def folder(rig_folder: Path) -> Path:
    folder = rig_folder / "traces"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def reached(folder: Path, upstreams: Upstreams) -> Iterator[Reached]:
    """With the defaults: what is asked for in parts is completed."""
    yield from _started(folder / "whole", upstreams)


@pytest.fixture(scope="module")
def asked(folder: Path, upstreams: Upstreams) -> Iterator[Reached]:
    """Only what is asked for is fetched."""
    yield from _started(folder / "asked", upstreams, fill="asked")


def _started(folder: Path, upstreams: Upstreams, **more: Option) -> Iterator[Reached]:
    mirror = free_port()
    options: dict[str, Option] = {
        "upstream_ca": str(upstreams.authority.pem),
        "resolve": upstreams.resolve,
        "mirror": f"127.0.0.1:{mirror}",
        **more,
    }
    proxy = Entrepot(folder, options)
    proxy.start()
    yield Reached(proxy, mirror)
    proxy.kill9()


@pytest.fixture(params=TRACES, ids=lambda trace: trace.client)
def trace(request: pytest.FixtureRequest) -> Trace:
    assert isinstance(request.param, Trace)
    return request.param


@pytest.fixture
def blob(trace: Trace, upstreams: Upstreams, images: ImageFactory) -> Blob:
    """A layer of the trace's own."""
    image = images.image(f"trace of {trace.client}", (SIZE,), compression="stored")
    upstreams.push(image, f"{HOST}/parts/{_repository(trace)}:1")
    return image.layers[0]


def _repository(trace: Trace) -> str:
    return "".join(letter for letter in trace.client.lower() if letter.isalnum())


def _path(trace: Trace, blob: Blob) -> str:
    return f"/v2/parts/{_repository(trace)}/blobs/{blob.digest}"


def moved(upstreams: Upstreams, mark: int) -> int:
    return upstreams.requests(mark).blob_bytes


def test_cold_warm_and_offline(
    reached: Reached, upstreams: Upstreams, trace: Trace, blob: Blob
) -> None:
    """Promise 3: each byte comes once, by whichever road; then neither bytes nor registry."""
    body, path = blob.read(), _path(trace, blob)
    mark = upstreams.mark()
    trace.replay(body, reached.by_proxy(path))
    reached.proxy.await_stored([blob.digest])
    reached.proxy.await_rest()
    # What was on its way when a connection was left counts too: buffers of loopback are large.
    assert moved(upstreams, mark) <= len(body) + 4 * MIB
    mark = upstreams.mark()
    trace.replay(body, reached.by_mirror(path))
    trace.replay(body, reached.by_proxy(path))
    assert moved(upstreams, mark) == 0
    with upstreams.down():
        trace.replay(body, reached.by_mirror(path))
        trace.replay(body, reached.by_proxy(path))


def test_no_more_is_fetched_than_directly(
    asked: Reached, upstreams: Upstreams, trace: Trace, blob: Blob
) -> None:
    """Lazy readers of huge images stay cheap: `--fill asked`."""
    body, path = blob.read(), _path(trace, blob)
    direct, mark = upstreams.client(), upstreams.mark()
    trace.replay(body, lambda method, headers: direct.open(method, _url(path), headers))
    directly = moved(upstreams, mark)
    mark = upstreams.mark()
    trace.replay(body, asked.by_mirror(path))
    assert moved(upstreams, mark) <= 1.1 * directly
    mark = upstreams.mark()
    trace.replay(body, asked.by_proxy(path))
    assert moved(upstreams, mark) <= 0.01 * directly


def _url(path: str) -> str:
    return f"https://{HOST}{path}"
