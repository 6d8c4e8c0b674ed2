"""A proxy with something to see on its page: a demo folder, registries, layers under way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rig.certs import Authority
from rig.client import Client
from rig.demo import DEMO, Scale, make_demo
from rig.faults import FaultServer, Gate, status
from rig.images import MIB, incompressible
from rig.page import TOKEN
from rig.ports import free_port
from rig.process import Launch, eventually, start_program
from rig.proxy import Entrepot

HUB, GHCR, QUAY = "registry-1.docker.io", "ghcr.io", "quay.io"
OWN = "registry.corp.example"
_QUOTA = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "61;w=21600"}


@dataclass
class Stage:
    """The proxy, and the server that is all its registries."""

    proxy: Entrepot
    registries: FaultServer
    admin_port: int
    authority: Authority
    gates: list[Gate] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def client(self, source: str | None = None) -> Client:
        return self.proxy.client(source=source)

    def ask_registries(self) -> None:
        """They do well, and one says what is left of its quota; one fails."""
        client = self.client()
        manifest = b'{"schemaVersion": 2}'
        for host, code in ((HUB, 200), (GHCR, 200), (QUAY, 200), (OWN, 503)):
            path = f"/v2/acme/{host.partition('.')[0]}/manifests/1"
            fields = {"Content-Type": "application/vnd.oci.image.manifest.v1+json", **_QUOTA}
            given = fields if host == HUB else {"Content-Type": fields["Content-Type"]}
            self.registries.routes[path] = status(code, manifest, given)
            client.get(f"https://{host}{path}")

    def fetch(self, host: str, repository: str, mib: int, allowed: float, *sources: str) -> Gate:
        """Have a layer of so many MiB be fetched by these addresses, until its gate opens."""
        body = b"".join(incompressible(f"{repository} {mib}", mib * MIB))
        path, content = self.registries.add_blob(repository, body)
        gate = content.gate = Gate(int(mib * MIB * allowed))
        self.gates.append(gate)
        before = len(self.proxy_fetches())
        for source in sources:
            asking = threading.Thread(target=self._get, args=(source, f"https://{host}{path}"))
            asking.start()
            self.threads.append(asking)
            eventually(lambda: len(self.proxy_fetches()) > before, what="a download")
        return gate

    def proxy_fetches(self) -> list[object]:
        downloads = self.proxy.local("/api/state").json()["downloads"]
        assert isinstance(downloads, list)
        return downloads

    def _get(self, source: str, url: str) -> None:
        with suppress(OSError, AssertionError):
            self.client(source).get(url)

    def end_fetches(self) -> None:
        """Let all that is fetched come to its end."""
        for gate in self.gates:
            gate.open()
        for thread in self.threads:
            thread.join()
        self.gates, self.threads = [], []


@contextmanager
def stage(
    folder: Path,
    *,
    scale: Scale = DEMO,
    launch: Launch = start_program,
    authority: Authority | None = None,
    size: str = "10GiB",
    clock: Callable[[], float] = time.time,
) -> Iterator[Stage]:
    """Start all of it in a folder that is there."""
    with ExitStack() as stack:
        authority = authority or Authority(folder / "authority")
        registries = FaultServer(authority, HUB, GHCR, QUAY, OWN)
        stack.callback(registries.stop)
        make_demo(folder / "proxy" / "data", clock(), scale)
        admin_port = free_port()
        proxy = Entrepot(
            folder / "proxy",
            {
                "size": size,
                "admin": f":{admin_port}",
                "admin_token": TOKEN,
                "upstream_ca": str(authority.pem),
                "resolve": registries.resolve,
            },
            launch=launch,
        )
        proxy.start()
        stack.callback(proxy.kill9)
        staged = Stage(proxy, registries, admin_port, authority)
        stack.callback(staged.end_fetches)
        yield staged
