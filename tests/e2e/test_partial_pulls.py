"""Clients that read parts of layers, as they are: containerd 2, podman with partial images, SOCI.

scripts/newer-clients brings them. The proxy of this module keeps what anybody asked for whole, and
that of `asked` no more than that; each serves all tests, by both roads.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from rig import newer
from rig.clients import Containerd, Podman, Skopeo
from rig.command import check
from rig.images import KIB, MIB, Image, ImageFactory
from rig.needs import need_root
from rig.ports import free_port
from rig.proxy import Entrepot, Option
from rig.registry import Registry
from rig.route import KnownNames, Route
from rig.soci import Soci
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from e2e.conftest import Drivers

HOST = "ports.example.test"
PARALLEL = """
[plugins."io.containerd.transfer.v1.local"]
max_concurrent_downloads = 6
concurrent_layer_fetch_buffer = 8388608
"""
HOSTS = """\
[host."http://127.0.0.1:{port}"]
  capabilities = ["pull", "resolve"]
"""


Within = tuple[str, ...]
"""Words before a client's command: where it runs."""


class StartPodman(Protocol):
    def __call__(self, route: Route | KnownNames, *, mirrors: Mapping[str, int] = {}) -> Podman: ...


@dataclass(frozen=True, slots=True)
class Reached:
    """A proxy, its mirror and the registry: three ways to the same images."""

    proxy: Entrepot
    mirror: int
    """Of any registry."""
    named: int
    """Of this one."""
    folder: Path
    upstreams: Upstreams

    @property
    def registry(self) -> Registry:
        return self.upstreams.host(f"{HOST}:5443").registry

    @property
    def netloc(self) -> str:
        """Where a client that uses no proxy finds the registry; the proxy finds it there too."""
        return f"{HOST}:{self.upstreams.nginx.tls_port}"

    def by_proxy(self, within: Within) -> Route:
        return replace(self.proxy.route(), within=within)

    def directly(self, within: Within) -> KnownNames:
        return KnownNames(self.folder, self.upstreams.authority.pem, (HOST,), within)

    def hosts_toml(self) -> Path:
        """A folder that leads containerd to the mirror."""
        certs = self.folder / "certs"
        home = certs / self.netloc / "hosts.toml"
        home.parent.mkdir(parents=True, exist_ok=True)
        home.write_text(HOSTS.format(port=self.mirror))
        return certs

    def push(self, image: Image, path: str) -> str:
        """Push to the registry; return the name that all clients have for it."""
        self.upstreams.push(image, f"{HOST}:5443/{path}")
        return f"{self.netloc}/{path}"

    def moved(self, mark: int) -> int:
        """How many bytes of blobs left the registry."""
        return self.upstreams.requests(mark).blob_bytes


@pytest.fixture(scope="module")
def running() -> Iterator[ExitStack]:
    need_root()
    with ExitStack() as stack:
        yield stack


def within(*programs: str) -> Within:
    """The words that run a client among these programs of a later Debian, else the test is skipped.

    The first release that has them all is taken.
    """
    if found := newer.releases(*programs):
        return newer.within(found[0])
    pytest.skip(f"no {', '.join(programs)} in .clients: run scripts/newer-clients")


@pytest.fixture(scope="module")
def containers(running: ExitStack, drivers: "Drivers") -> Within:
    """Where a podman runs that puts layers together from parts."""
    del running  # it wants root
    if drivers.podman != "overlay":
        pytest.skip("no overlays here: for these alone podman fetches parts of layers")
    return within("podman", "skopeo")


@pytest.fixture(scope="module")
def snapshotters(running: ExitStack) -> Within:
    """Where containerd 2 runs, and what works beside it."""
    del running  # it wants root
    return within("containerd", "ctr", "ctr-remote", "soci-snapshotter-grpc")


@pytest.fixture(scope="module")
def folder(rig_folder: Path) -> Path:
    folder = rig_folder / "parts"
    folder.mkdir()
    return folder


def started(folder: Path, upstreams: Upstreams, running: ExitStack, **more: Option) -> Reached:
    mirror, named, tls = free_port(), free_port(), upstreams.nginx.tls_port
    options: dict[str, Option] = {
        "upstream_ca": str(upstreams.authority.pem),
        "resolve": f"{HOST}:{tls}:127.0.0.1:{tls}",
        "mirror": [f"127.0.0.1:{mirror}", f"127.0.0.1:{named}={HOST}:{tls}"],
        **more,
    }
    proxy = Entrepot(folder, options)
    running.callback(proxy.kill9)
    proxy.start()
    return Reached(proxy, mirror, named, folder, upstreams)


@pytest.fixture(scope="module")
def reached(folder: Path, upstreams: Upstreams, running: ExitStack) -> Reached:
    return started(folder / "whole", upstreams, running)


@pytest.fixture(scope="module")
def asked(folder: Path, upstreams: Upstreams, running: ExitStack) -> Reached:
    """Through a proxy that fetches no more than what is asked for."""
    return started(folder / "asked", upstreams, running, fill="asked")


def test_containerd_2_takes_a_layer_in_parts(
    reached: Reached,
    folder: Path,
    running: ExitStack,
    images: ImageFactory,
    drivers: "Drivers",
    snapshotters: Within,
) -> None:
    """Promise 3: cold each byte comes once, by either road; then none, nor need of the registry."""
    image = images.image("containerd 2", (26 * MIB, 300 * KIB), compression="stored")
    name = reached.push(image, "parts/containerd:1")
    whole = sum(blob.size for blob in image.blobs)

    def client(route: Route | KnownNames, label: str, certs: Path | None = None) -> Containerd:
        driver = drivers.containerd
        one = Containerd(folder / label, route, snapshotter=driver, certs=certs, settings=PARALLEL)
        running.callback(one.stop)
        one.start()
        return one

    upstreams = reached.upstreams
    ctr = client(reached.by_proxy(snapshotters), "ctr")
    mark = upstreams.mark()
    check(ctr.pull(name))
    reached.proxy.await_stored(blob.digest for blob in image.blobs)
    assert whole <= reached.moved(mark) <= 1.01 * whole

    kubelet = client(reached.directly(snapshotters), "cri", certs=reached.hosts_toml())
    mark = upstreams.mark()
    kubelet.cri_pull(name)
    ctr.remove(name)
    check(ctr.pull(name))
    assert reached.moved(mark) == 0
    kubelet.remove(*kubelet.images())
    ctr.remove(name)
    with upstreams.down():
        kubelet.cri_pull(name)
        check(ctr.pull(name))
    # What it says where an answer to a range, of a manifest too, makes it go on by one connection.
    assert "ignored content range" not in ctr.daemon.log + kubelet.daemon.log


@dataclass(frozen=True, slots=True)
class Versions:
    """Two versions of an image of one zstd:chunked layer."""

    old: str
    new: str
    layers: tuple[str, ...]
    """Their digests."""
    size: int
    """Of both layers and configurations, in bytes."""
    changed: int
    """How many bytes the second layer has that the first has not, and what says where."""


@pytest.fixture(scope="module")
def versions(reached: Reached, folder: Path, images: ImageFactory, containers: Within) -> Versions:
    """Of 10 MiB in files of 50 KiB each; a tenth of them differ."""
    count, size, changed = 200, 50 * KIB, 20
    skopeo = Skopeo(folder / "skopeo", reached.directly(containers))
    names, blobs = [], []
    for tag, others in (("1", 0), ("2", changed)):
        image = images.of_files("zstd:chunked", count, size, changed=others)
        name = reached.push(image, f"parts/plain:{tag}")
        path = name.partition("/")[2]
        source = f"docker://127.0.0.1:{reached.registry.port}/{path}"
        packed = ("--dest-compress-format=zstd:chunked", "--dest-compress")
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        target = source.replace("plain", "chunked")
        check(skopeo.cli.run("copy", *packed, *plain, source, target))
        names.append(name.replace("plain", "chunked"))
        manifest = json.loads(
            check(skopeo.inspect(target.removeprefix("docker://"), "--raw", "--tls-verify=false"))
        )
        blobs += [manifest["config"], *manifest["layers"]]
    skopeo.stop()
    layers = [blob for blob in blobs if "annotations" in blob]
    # Each file has a frame of its own, which is incompressible; the rest is the table of contents.
    files = changed * (size + KIB)
    contents = layers[-1]["size"] - count * size
    old, new = names
    return Versions(
        old,
        new,
        tuple(layer["digest"] for layer in layers),
        sum(blob["size"] for blob in blobs),
        files + contents,
    )


@pytest.fixture(scope="module")
def start_podman(
    folder: Path, versions: Versions, running: ExitStack, drivers: "Drivers"
) -> StartPodman:
    """Start one that has the old version already, through the road that is given."""
    names = iter(range(10))

    def start(route: Route | KnownNames, *, mirrors: Mapping[str, int] = {}) -> Podman:
        home, driver = folder / f"podman-{next(names)}", drivers.podman
        client = Podman(home, route, storage_driver=driver, parts=True, mirrors=mirrors)
        running.callback(client.stop)
        check(client.pull(versions.old))
        return client

    return start


def test_podman_fetches_what_has_changed(
    asked: Reached, versions: Versions, start_podman: StartPodman, containers: Within
) -> None:
    """Of the second version of an image only the changed files cross the uplink, and once."""
    podman = start_podman(asked.by_proxy(containers))
    mark = asked.upstreams.mark()
    check(podman.pull(versions.new))
    assert asked.moved(mark) <= 1.1 * versions.changed
    podman.remove(versions.new)
    mark = asked.upstreams.mark()
    check(podman.pull(versions.new))
    assert asked.moved(mark) <= 0.01 * versions.changed


def test_podman_by_a_mirror_and_without_the_registry(
    reached: Reached, versions: Versions, start_podman: StartPodman, containers: Within
) -> None:
    """With the defaults the rest comes behind, once; then nothing of the registry is needed."""
    upstreams = reached.upstreams
    mark = upstreams.mark()
    podman = start_podman(reached.directly(containers), mirrors={reached.netloc: reached.named})
    check(podman.pull(versions.new))
    reached.proxy.await_stored(versions.layers)
    assert reached.moved(mark) <= 1.01 * versions.size
    podman.remove(versions.old, versions.new)
    with upstreams.down():
        check(podman.pull(versions.old))
        check(podman.pull(versions.new))


def test_soci_fetches_what_is_read(
    reached: Reached,
    asked: Reached,
    folder: Path,
    running: ExitStack,
    images: ImageFactory,
    snapshotters: Within,
) -> None:
    """A span of a mounted layer comes as it does directly; what is complete needs no registry."""
    if not Path("/dev/fuse").exists():
        pytest.skip("no /dev/fuse here, by which the snapshotter mounts layers: modprobe fuse")
    upstreams = asked.upstreams
    image = images.image("soci", (26 * MIB,))
    name, (layer,) = asked.push(image, "parts/soci:1"), image.layers
    with tarfile.open(layer.path) as tar:
        file = tar.extractfile("layer-0.bin")
        content = file.read() if file else b""

    def start(label: str, route: Route | KnownNames, mirrors: Mapping[str, int] = {}) -> Soci:
        client = Soci(folder / label, route, mirrors=mirrors)
        running.callback(client.stop)
        client.start()
        return client

    def read(client: Soci, *options: str) -> int:
        """Mount it and read in it; how many bytes of the layer left the registry."""
        mark = upstreams.mark()
        client.mount(name, *options)
        with client.file("layer-0.bin").open("rb") as file:
            file.seek(10 * MIB)
            assert file.read(64 * KIB) == content[10 * MIB : 10 * MIB + 64 * KIB]
        sent = upstreams.requests(mark).blob_gets
        client.containerd.remove(name)
        return sum(one.bytes for one in sent if one.path.endswith(layer.digest))

    publisher = start("soci", reached.directly(snapshotters))
    publisher.publish(name)
    publisher.containerd.remove(name)
    directly = read(publisher)
    assert 4 * MIB < directly < 5 * MIB

    assert read(start("soci-proxy", asked.by_proxy(snapshotters))) <= 1.1 * directly
    hosts = f"--hosts-dir={reached.hosts_toml()}"
    mirrored = start("soci-mirror", reached.directly(snapshotters), {reached.netloc: reached.named})
    read(mirrored, hosts)
    reached.proxy.await_stored([layer.digest])
    with upstreams.down():
        assert read(mirrored, hosts) == 0


def test_podman_reads_the_footer_of_an_estargz_layer(
    asked: Reached,
    folder: Path,
    running: ExitStack,
    images: ImageFactory,
    drivers: "Drivers",
    containers: Within,
    snapshotters: Within,
) -> None:
    """51 bytes at the end, then the table of contents, then chunks: each byte comes once."""
    name = asked.push(images.of_files("estargz", 100, 50 * KIB), "parts/gzip:1")
    lazy = name.replace("gzip", "estargz")
    maker = Containerd(
        folder / "maker", asked.directly(snapshotters), snapshotter=drivers.containerd
    )
    running.callback(maker.stop)
    maker.start()
    check(maker.pull(name, "--local"))
    check(maker.ctr_remote.run("images", "convert", "--estargz", "--oci", name, lazy))
    check(maker.push(lazy, "--local"))

    podman = Podman(
        folder / "podman-estargz",
        asked.by_proxy(containers),
        storage_driver=drivers.podman,
        parts=True,
    )
    running.callback(podman.stop)
    mark = asked.upstreams.mark()
    check(podman.pull(lazy))
    cold = asked.upstreams.requests(mark).blob_gets
    assert sum(one.bytes for one in cold) < 5.3 * MIB
    podman.remove(lazy)
    mark = asked.upstreams.mark()
    check(podman.pull(lazy))
    assert asked.moved(mark) < 0.01 * sum(one.bytes for one in cold)
