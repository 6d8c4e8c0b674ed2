"""A gateway with a transparent proxy, its clients, and the rig's hosts beyond it.

Each host has an address of both families in `networks.beyond`, where a door leads to the rig.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.networks import Doors, Networks
from rig.process import program
from rig.proxy import Entrepot, Option
from rig.upstreams import Upstreams

TRANSPARENT = 3129
OTHER_TRANSPARENT = 3131
_SCRIPT = Path(__file__).parents[2] / "scripts" / "redirect.sh"
_FIRST = 10


class World:
    """The networks; `addresses` are of both families, by name."""

    def __init__(self, upstreams: Upstreams) -> None:
        self.networks = Networks()
        self.doors = Doors(self.networks.beyond)
        self.upstreams = upstreams
        self.addresses: dict[str, tuple[str, str]] = {}
        self._resolve: list[str] = []

    def add(self, name: str, port: int = 443, target: int | None = None) -> None:
        """Give a name its addresses; `target` is the rig's TLS port unless it is another."""
        number = len(self.addresses)
        self.addresses[name] = four, six = self.networks.add_beyond(_FIRST + number)
        self.doors.open((four, six), port, target or self.upstreams.nginx.tls_port)
        # The proxy reaches some hosts by IPv4, others by IPv6.
        self._resolve.append(f"{name}:{port}:{f'[{six}]' if number % 2 else four}")

    def at(self, family: int) -> dict[str, str]:
        """Return each name's address of a family, 4 or 6: what its clients' DNS says."""
        return {name: both[family == 6] for name, both in self.addresses.items()}

    def redirect(self, *words: str) -> str:
        """Run the script on the gateway; return what it says."""
        finished = self.networks.gateway.run("sh", _SCRIPT, *words)
        assert finished.returncode == 0, finished
        return finished.stdout

    @contextmanager
    def proxied(
        self, folder: Path, *, user: int = 0, other: bool = False, **options: Option
    ) -> Iterator[Entrepot]:
        """Run a proxy on the gateway, as a user who may read the rig's files; `other`: a second."""
        port, transparent = (3130, OTHER_TRANSPARENT) if other else (3128, TRANSPARENT)
        capabilities = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        given: dict[str, Option] = {
            "listen": f":{port}",
            "transparent": f":{transparent}",
            "upstream_ca": str(self.upstreams.authority.pem),
            "resolve": self._resolve,
            **options,
        }
        proxy = Entrepot(
            folder / "entrepot",
            given,
            network=self.networks.gateway,
            wrapper=[program("setpriv"), f"--reuid={user}", *capabilities] if user else (),
        )
        try:
            proxy.start()
            yield proxy
        finally:
            proxy.kill9()

    def stop(self) -> None:
        self.doors.close()
        self.networks.stop()
