"""What is measured: this proxy, and what others use in its place. Each starts with an empty cache.

Every peer is a process below a temporary folder, listens on loopback, is reached under the origin's
own URLs (`Way`), and fetches from the same origin over TLS.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import Way
from bench.mirror import mirror
from bench.nginx_conf import listen, proxy_cache, static
from bench.origin import Address, Origin
from bench.processes import a_core_each, cpu_seconds, peak_memory
from bench.squid import squid
from rig.networks import Network
from rig.ports import free_port
from rig.process import PATH, Daemon, accepts, clean_environment, program
from rig.proxy import Entrepot, Option

DIRECT = "direct"


class Peer:
    """One server on the way to a registry of the origin; without a daemon, no server at all."""

    def __init__(self, folder: Path, way: Way, daemon: Daemon | None = None) -> None:
        self.folder = folder
        self.way = way
        self.daemon = daemon

    def start(self) -> None:
        if self.daemon:
            self.daemon.start()

    def stop(self) -> None:
        if self.daemon:
            self.daemon.kill9()

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far."""
        return cpu_seconds(self.daemon.pid) if self.daemon else 0.0

    def a_core_each(self) -> AbstractContextManager[None]:
        """Keep it on one core, and the client on the others."""
        return a_core_each(self.daemon.pid) if self.daemon else nullcontext()

    def peak_memory(self) -> int:
        """Return the most bytes that its processes had resident."""
        return peak_memory(self.daemon.pid) if self.daemon and self.daemon.running() else 0


class Ours(Peer):
    """`entrepot serve`, with more options if given; its authority is there once it runs."""

    def __init__(
        self, folder: Path, origin: Origin, *, network: Network | None = None, **options: Option
    ) -> None:
        given: dict[str, Option] = {"resolve": origin.resolve, **options}
        given["upstream_ca"] = str(origin.authority.pem)
        proxy = Entrepot(folder, given, network=network)
        super().__init__(folder, Way(folder / "ca.pem", proxy.port, proxy=True), proxy.daemon)
        self._proxy = proxy

    def start(self) -> None:
        super().start()
        self.way.ca_file.write_bytes(self._proxy.ca_pem)


Make = Callable[[Path, Origin, Address], Peer]


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of peer: its key in the results, its column, how it is made, and what that takes.

    `packages` are the Debian packages of programs. `root` says that only root can run it as it is
    run here. `plain` makes it as a server over plain HTTP, where it can be one.
    """

    key: str
    title: str
    make: Make
    packages: dict[str, str]
    root: bool = False
    plain: Make | None = None


def _nobody(folder: Path, origin: Origin, _address: Address) -> Peer:
    return Peer(folder, Way(origin.authority.pem))


def _entrepot(folder: Path, origin: Origin, _address: Address) -> Peer:
    return Ours(folder, origin)


def _plain_entrepot(folder: Path, origin: Origin, address: Address) -> Peer:
    port = free_port()
    peer = Ours(folder, origin, mirror=f"127.0.0.1:{port}={address.netloc}")
    peer.way = replace(peer.way, port=port, proxy=False)
    return peer


def offline(folder: Path, origin: Origin, address: Address) -> Ours:
    """Make one that asks no registry, and is reached over plain HTTP."""
    port = free_port()
    peer = Ours(folder, origin, mirror=f"127.0.0.1:{port}={address.netloc}", offline=True)
    peer.way = replace(peer.way, port=port, proxy=False)
    return peer


def _static(folder: Path, origin: Origin, _address: Address) -> Peer:
    port = free_port()
    config = static(folder, listen(port, origin.leaf), origin.hub.storage, origin.tags)
    return _nginx(folder, origin, port, config)


def _plain_static(folder: Path, origin: Origin, _address: Address) -> Peer:
    port = free_port()
    config = static(folder, f"listen 127.0.0.1:{port};", origin.hub.storage, origin.tags)
    return _nginx(folder, origin, port, config)


def _proxy_cache(folder: Path, origin: Origin, address: Address) -> Peer:
    port = free_port()
    config = proxy_cache(folder, listen(port, origin.leaf), origin.authority.pem, address)
    return _nginx(folder, origin, port, config)


def _nginx(folder: Path, origin: Origin, port: int, config: str) -> Peer:
    folder.mkdir(parents=True)
    path = folder / "nginx.conf"
    path.write_text(config)
    daemon = Daemon(
        "nginx-peer",
        [program("nginx"), "-p", folder, "-c", path],
        log=folder / "error.log",
        env=clean_environment(folder),
        ready=lambda: accepts(port),
    )
    return Peer(folder, Way(origin.authority.pem, port), daemon)


def _squid(folder: Path, origin: Origin, _address: Address) -> Peer:
    daemon, way = squid(folder, origin)
    return Peer(folder, way, daemon)


def _mirror(folder: Path, origin: Origin, address: Address) -> Peer:
    daemon, way = mirror(folder, origin, address)
    return Peer(folder, way, daemon)


def _plain_mirror(folder: Path, origin: Origin, address: Address) -> Peer:
    daemon, way = mirror(folder, origin, address, plain=True)
    return Peer(folder, way, daemon)


KINDS = {
    kind.key: kind
    for kind in (
        Kind(DIRECT, "no proxy", _nobody, {}),
        Kind("entrepot", "Entrepôt", _entrepot, {}, plain=_plain_entrepot),
        Kind("nginx", "nginx, the file", _static, {"nginx": "nginx-light"}, plain=_plain_static),
        Kind("proxy_cache", "nginx proxy_cache", _proxy_cache, {"nginx": "nginx-light"}),
        Kind("squid", "squid ssl_bump", _squid, {"squid": "squid-openssl"}, root=True),
        Kind(
            "mirror",
            "docker-registry mirror",
            _mirror,
            {"docker-registry": "docker-registry", "unshare": "util-linux"},
            root=True,
            plain=_plain_mirror,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a measure takes besides its peers, as in `Kind`."""

    packages: dict[str, str] = field(default_factory=dict)
    root: bool = False


NOTHING = Needs()
ENGINE = Needs({"docker": "docker.io", "dockerd": "docker.io", "unshare": "util-linux"}, root=True)
NETWORKS = Needs(
    {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"},
    root=True,
)


def obstacle(key: str, needs: Needs = NOTHING) -> str:
    """Return why a peer cannot be measured here, with what that needs; nothing if it can."""
    kind = KINDS[key]
    programs = kind.packages | needs.packages
    if any(shutil.which(name, path=PATH) is None for name in programs):
        return "not installed"
    return "takes root" if (kind.root or needs.root) and os.geteuid() != 0 else ""
