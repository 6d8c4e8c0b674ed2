"""Entrepôt, where it lies otherwise on the road between clients and origin."""

from dataclasses import replace
from pathlib import Path

from bench.origin import Address, Origin
from bench.peers import Ours
from rig.networks import Doors, Networks
from rig.process import RigError
from rig.road import Road

_REDIRECT = Path(__file__).parents[2] / "scripts" / "redirect.sh"
_GATEWAY, _BEYOND = "10.77.1.1", "10.77.2.2"
_LISTEN, _TRANSPARENT = 3128, 3129


class Gateway(Ours):
    """It runs on the gateway between its clients' network and the origin's.

    Both ways to it cross the same wire: `way` is by CONNECT, `redirected` goes to the origin's
    address and is redirected by nftables.
    """

    def __init__(self, folder: Path, origin: Origin, address: Address) -> None:
        self._networks = Networks()
        self._doors = Doors(self._networks.beyond)
        self._port, self._target = address.port, origin.port
        super().__init__(
            folder,
            origin,
            network=self._networks.gateway,
            listen=f":{_LISTEN}",
            transparent=f":{_TRANSPARENT}",
            resolve=[
                f"{name}:{address.port}:{_BEYOND}:{address.port}"
                for name in (address.registry, address.content)
            ],
        )
        within = tuple(self._networks.clients.prefix)
        self.way = replace(self.way, host=_GATEWAY, within=within)
        self.redirected = replace(self.way, host=_BEYOND, port=address.port, proxy=False)

    def start(self) -> None:
        self._doors.open([_BEYOND], self._port, self._target)
        words = ("install", "--registry-port", str(self._port), "--port", str(_TRANSPARENT))
        finished = self._networks.gateway.run("sh", _REDIRECT, *words)
        if finished.returncode:
            raise RigError(f"{_REDIRECT.name}: {finished.stderr}")
        super().start()

    def stop(self) -> None:
        super().stop()
        self._doors.close()
        self._networks.stop()


class Severable(Ours):
    """It reaches the origin by a road on which all can be dropped."""

    def __init__(self, folder: Path, origin: Origin, _address: Address) -> None:
        self.road = Road(origin.port)
        super().__init__(folder, origin, resolve=self.road.leading(origin.resolve))

    def stop(self) -> None:
        super().stop()
        self.road.stop()
