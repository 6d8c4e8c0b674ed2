"""What the proxy leaves alone: hosts that are no registries, and clients without its CA."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import check
from rig.images import ImageFactory
from rig.needs import need
from rig.proxy import Entrepot
from rig.route import Route, bundle
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

WEB = "plainweb.example.test/app:1"
UNKNOWN_AUTHORITY = "certificate signed by unknown authority"


@pytest.fixture
def stranger(
    request: pytest.FixtureRequest,
    entrepot: Entrepot,
    upstreams: Upstreams,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
) -> RealClient:
    """A client that trusts the upstreams' authority and not the proxy's."""
    return start_trusting(request.param, entrepot, upstreams, folder, running, drivers)


def start_trusting(
    kind: str,
    entrepot: Entrepot,
    upstreams: Upstreams,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
) -> RealClient:
    need(kind)
    trusted = bundle(folder / "strangers-roots.pem", upstreams.authority.pem.read_bytes())
    route, own = Route(entrepot.url, trusted), folder / "stranger"
    client: RealClient
    match kind:
        case "dockerd":
            client = Dockerd(own, route, storage_driver=drivers.docker)
        case "containerd":
            client = Containerd(own, route, snapshotter=drivers.containerd)
        case "podman":
            client = Podman(own, route, storage_driver=drivers.podman)
        case _:
            client = Skopeo(own, route)
    running.callback(client.stop)
    client.start()
    return client


every_kind = pytest.mark.parametrize(
    "stranger", ["dockerd", "containerd", "skopeo", "podman"], indirect=True
)


def test_a_client_sees_the_own_certificate_of_what_is_no_registry(any_client: RealClient) -> None:
    """Promise 4: a client that trusts our CA is still shown, and refuses, the origin's own."""
    finished = any_client.pull(WEB)
    assert finished.returncode != 0
    assert UNKNOWN_AUTHORITY in finished.stdout + finished.stderr


def test_a_client_that_trusts_a_private_host_reaches_it(
    entrepot: Entrepot, upstreams: Upstreams, folder: Path, running: ExitStack
) -> None:
    """Promise 4: only the origin's CA is needed for the origin's certificate."""
    trusted = bundle(folder / "web.pem", upstreams.web_authority.pem.read_bytes())
    skopeo = Skopeo(folder / "skopeo", Route(entrepot.url, trusted))
    running.callback(skopeo.stop)
    mark = upstreams.mark()
    finished = skopeo.inspect(WEB)
    assert UNKNOWN_AUTHORITY not in finished.stderr
    seen = upstreams.requests(mark).of(host="plainweb.example.test", kind="manifest")
    assert [one.user_agent.partition("/")[0] for one in seen] == ["skopeo"]


@every_kind
def test_a_client_without_the_ca_is_tunnelled_at_its_second_attempt(
    stranger: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 7: a client that does not trust the cache still pulls, past it."""
    name = upstreams.push(images.image("untouched"), "hub.example.test/untouched:1")
    stranger.pull(name)  # some clients ask twice by themselves and succeed here
    mark = upstreams.mark()
    stranger.remove(name)
    check(stranger.pull(name))
    assert upstreams.requests(mark).of(host="hub.example.test").manifest_gets
    said = [line for line in entrepot.log.splitlines() if "hub.example.test" in line]
    refusals = [line for line in said if "certificate_refused" in line]
    assert len(refusals) == 1
    assert "ca/install.sh" in refusals[0]


@pytest.mark.parametrize("kind", ["dockerd", "skopeo"])
def test_a_registry_that_the_proxy_cannot_verify_is_left_to_the_client(
    kind: str,
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
) -> None:
    """Promise 4: where only the client knows a registry's CA, the pull is tunnelled and works."""
    entrepot = start_entrepot(upstream_ca=[])
    client = start_trusting(kind, entrepot, upstreams, folder, running, drivers)
    name = upstreams.push(images.image("untouched"), "hub.example.test/untouched:1")
    check(client.pull(name))
    assert "certificate_refused" not in entrepot.log
