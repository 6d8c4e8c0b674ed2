"""Socket activation: over a restart clients wait in a socket that stays open."""

import http.client
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.activation import SocketUnit, listening, open_descriptors
from rig.client import Client
from rig.faults import FaultServer, Gate
from rig.images import MIB, incompressible
from rig.needs import need
from rig.ports import free_port
from rig.process import PATH, accepts, clean_environment, eventually, program
from rig.proxy import PYTHON, Entrepot, Option
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
LAYERS = [b"".join(incompressible(f"activated {number}", MIB)) for number in range(3)]
RESTARTS = 3
PULLERS = 4


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def unit(port: int) -> Iterator[SocketUnit]:
    made = SocketUnit(listening("127.0.0.1", port))
    yield made
    made.close()


@pytest.fixture
def activated(
    folder: Path, upstreams: Upstreams, fault_server: FaultServer, unit: SocketUnit, port: int
) -> Iterator[Entrepot]:
    """A proxy on the unit's socket."""
    options: dict[str, Option] = {
        "upstream_ca": str(upstreams.authority.pem),
        "resolve": fault_server.resolve,
        "listen": f"127.0.0.1:{port}",
    }
    proxy = Entrepot(folder / "activated", options, launch=unit.launch)
    proxy.start()
    yield proxy
    proxy.kill9()


def test_a_client_that_comes_while_nobody_runs_is_served_by_the_next(activated: Entrepot) -> None:
    """It waits; without a unit it would be refused."""
    assert activated.terminate() == 0
    with closing(http.client.HTTPConnection("127.0.0.1", activated.port, timeout=60)) as early:
        early.request("GET", "/healthz")
        activated.daemon.spawn()
        assert early.getresponse().status == 200
    activated.daemon.wait_ready()


def test_a_client_that_comes_during_a_stop_is_served_by_the_next(
    activated: Entrepot, faults: FaultServer
) -> None:
    """The one that stops takes nobody any more, while what it sends comes whole."""
    path, content = faults.add_blob("app", LAYERS[0])
    content.gate = Gate(MIB // 2)
    client = activated.client()
    with client.open("GET", FAULT + path) as stream:
        stream.read(1)
        activated.daemon.signal(signal.SIGTERM)
        eventually(lambda: "drain_begun" in activated.log, what="it stops")
        late = http.client.HTTPConnection("127.0.0.1", activated.port, timeout=60)
        late.request("GET", "/healthz")
        content.gate.open()
        assert stream.read() == LAYERS[0][1:]
    assert activated.daemon.wait(20) == 0
    activated.daemon.spawn()
    assert late.getresponse().status == 200
    late.close()


class Pulling:
    """A client that pulls over and over, each request on a connection of its own."""

    def __init__(self, client: Client, paths: list[str], stop: threading.Event) -> None:
        self.pulls = 0
        self.failures: list[BaseException] = []
        self._client, self._paths, self._stop = client, paths, stop
        self.thread = threading.Thread(target=self._pull)
        self.thread.start()

    def _pull(self) -> None:
        try:
            while not self._stop.is_set():
                for path, layer in zip(self._paths, LAYERS, strict=True):
                    assert self._client.get(FAULT + path).body == layer
                self.pulls += 1
        except BaseException as failure:  # noqa: BLE001 it is looked at by the test
            self.failures.append(failure)


def test_no_pull_fails_over_restarts(activated: Entrepot, faults: FaultServer) -> None:
    """Clients that pull all the time notice three restarts by a pause alone."""
    paths = [faults.add_blob("app", layer)[0] for layer in LAYERS]
    stop = threading.Event()
    pulling = [Pulling(activated.client(), paths, stop) for _ in range(PULLERS)]

    def all_pull() -> None:
        before = [one.pulls for one in pulling]
        eventually(
            lambda: (
                any(one.failures for one in pulling)
                or all(one.pulls > was for one, was in zip(pulling, before, strict=True))
            ),
            what="each has pulled",
        )

    try:
        for _ in range(RESTARTS):
            all_pull()
            assert activated.terminate(40) == 0
            activated.daemon.spawn()
        all_pull()
    finally:
        stop.set()
        for one in pulling:
            one.thread.join(60)
    assert [one.failures for one in pulling] == [[]] * PULLERS
    assert "transfers_unfinished" not in activated.log


def test_each_road_gets_its_socket(folder: Path) -> None:
    """Of --listen, --transparent and --mirror; what no unit has is opened as ever."""
    listen, transparent, mirror, own = (free_port() for _ in range(4))
    unit = SocketUnit(*(listening("127.0.0.1", port) for port in (mirror, listen, transparent)))
    options: dict[str, Option] = {
        "listen": f"127.0.0.1:{listen}",
        "transparent": f"127.0.0.1:{transparent}",
        "mirror": [f"127.0.0.1:{mirror}", f"127.0.0.1:{own}"],
    }
    proxy = Entrepot(folder / "roads", options, launch=unit.launch)
    proxy.start()
    eventually(lambda: " listening " in proxy.log, what="ready")
    assert f"on=127.0.0.1:{listen} transparent=127.0.0.1:{transparent}" in proxy.log
    assert f"mirrors=127.0.0.1:{mirror},127.0.0.1:{own}" in proxy.log
    handed = {f"socket:[{os.fstat(one.fileno()).st_ino}]" for one in unit.sockets}
    assert handed <= set(open_descriptors(proxy.pid))
    said = {port: _said(port) for port in (listen, transparent, mirror, own)}
    assert said == {listen: 200, transparent: 421, mirror: 200, own: 200}
    assert proxy.terminate() == 0
    assert [port for port in said if accepts(port)] == [listen, transparent, mirror]
    proxy.kill9()
    unit.close()


def _said(port: int) -> int:
    """The status of what a port answers to a question for the proxy itself."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status


def _dual_stack(port: int) -> socket.socket:
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)


def _datagrams(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", port))
    return made


def _unix(_: int) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind("")
    made.listen()
    return made


@pytest.mark.parametrize(
    ("make", "listen", "said"),
    [
        (
            lambda port: listening("127.0.0.1", port),
            ":1",
            "--transparent, --admin, --mirror names port {port}; see ListenStream=",
        ),
        (
            lambda port: listening("0.0.0.0", port),  # noqa: S104 it is refused
            "127.0.0.1:{port}",
            "--listen 127.0.0.1:{port} is for another address; see ListenStream=",
        ),
        (_dual_stack, ":{port}", "takes IPv4 too: set BindIPv6Only=ipv6-only, and name both"),
        (_datagrams, "127.0.0.1:{port}", "expected a TCP socket that listens: see ListenStream="),
        (_unix, "127.0.0.1:{port}", "expected a TCP socket that listens: see ListenStream="),
    ],
    ids=["other port", "wider", "dual stack", "datagrams", "unix"],
)
def test_a_socket_that_does_not_fit_is_a_clear_refusal(
    tmp_path: Path,
    port: int,
    make: Callable[[int], socket.socket],
    listen: str,
    said: str,
) -> None:
    """In one line, which names the unit; and nothing is made yet."""
    unit = SocketUnit(make(port), name="cache.socket")
    words = ["serve", "--data", str(tmp_path / "data"), "--listen", listen.format(port=port)]
    log = tmp_path / "log"
    process = unit.launch(
        [PYTHON, "-m", "entrepot.cli", *words], log=log, env=clean_environment(tmp_path), cwd=None
    )
    assert process.wait(30) == 1
    (line,) = log.read_text().splitlines()
    assert line.startswith("entrepot: ")
    assert "(of cache.socket)" in line
    assert line.endswith(said.format(port=port))
    assert not (tmp_path / "data").exists()
    unit.close()


def test_sockets_for_another_process_are_left_alone(
    start_entrepot: "StartEntrepot", port: int
) -> None:
    """As those of a service that starts the proxy: LISTEN_PID says for whom they are."""
    env = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert start_entrepot(listen=f"127.0.0.1:{port}", env=env).local("/healthz").status == 200


def test_it_is_systemds_own_protocol(tmp_path: Path, port: int) -> None:
    """As systemd's program for trying that out speaks it."""
    need("systemd-socket-activate")
    words = ["serve", "--data", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}"]
    activate = [program("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "-E", f"PATH={PATH}"]
    dying = [program("setpriv"), "--pdeathsig", "KILL"]
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("wb"))
        process = subprocess.Popen(
            [*dying, *activate, PYTHON, "-m", "entrepot.cli", *words],
            env=clean_environment(tmp_path),
            stdout=log,
            stderr=log,
        )
        stack.callback(process.kill)
        eventually(lambda: accepts(port), what="systemd's program listens")
        assert _said(port) == 200
        process.terminate()
        assert process.wait(20) == 0
    assert f"on=127.0.0.1:{port}" in (tmp_path / "log").read_text()
