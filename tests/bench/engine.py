"""docker as a client: one dockerd for each way that it pulls.

Peers that are servers are named `127.0.0.1:PORT/…`, for which dockerd does not verify TLS; that
spares them a millisecond or two a connection.
"""

import time
from pathlib import Path

from bench.load import Way
from bench.origin import REPOSITORY, Address, Origin
from rig.clients import Dockerd
from rig.command import check, with_file
from rig.route import Route, bundle


class _Straight(Route):
    """No proxy at all."""

    def environment(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self.ca_file)}


class Engine:
    """A dockerd that reaches one registry by one way."""

    def __init__(
        self, folder: Path, way: Way, address: Address, origin: Origin, storage_driver: str
    ) -> None:
        folder.mkdir(parents=True)
        trusted = bundle(folder / "trusted.pem", way.ca_file.read_bytes())
        route = (
            Route(f"http://127.0.0.1:{way.port}", trusted) if way.proxy else _Straight("", trusted)
        )
        served = not way.proxy and way.port is not None
        self._netloc = f"127.0.0.1:{way.port}" if served else address.netloc
        self._docker = Dockerd(folder / "docker", route, storage_driver=storage_driver)
        if not way.proxy:
            hosts = origin.hosts_file(folder / "hosts")
            self._docker.daemon.argv[:0] = with_file("/etc/hosts", hosts)

    def start(self) -> None:
        self._docker.start()

    def stop(self) -> None:
        self._docker.stop()

    def pull(self, tag: str) -> float:
        """Return the seconds that a pull takes; the image is removed again."""
        name = f"{self._netloc}/{REPOSITORY}:{tag}"
        start = time.monotonic()
        check(self._docker.pull(name, "--quiet", timeout=300))
        seconds = time.monotonic() - start
        check(self._docker.remove(name))
        return seconds
