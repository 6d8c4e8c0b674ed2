"""Fixtures for tests with real parts: upstreams once a session, a fresh proxy for each test."""

import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from rig.faults import FaultServer
from rig.forks import Forks
from rig.images import ImageFactory
from rig.needs import need
from rig.process import live_logs, start_program
from rig.proxy import Entrepot, Option, Runner
from rig.upstreams import Upstreams

# The same examples in each run; how long one takes says more of the machine than of the code.
settings.register_profile("entrepot", deadline=None, database=None, derandomize=True)
settings.load_profile("entrepot")

_HERE = Path(__file__).parent
_MARKED = {
    "wire": "wire",
    "attack": "wire",
    "upgrade": "wire",
    "page": "wire",
    "deploy": "e2e",
    "e2e": "e2e",
}
_FIRST = ("attack", "e2e", "bench", "page", "wire")
"""Folders of the longest files; what is short fills the end, where one worker would wait."""


class StartEntrepot(Protocol):
    """Starts a proxy that resolves and trusts the rig's upstreams; `options` add or override.

    By a fork (see `rig.forks`), or by the command itself: in a test marked `unforked`, by another
    `runner`, or with an environment, on which a start may depend.
    """

    def __call__(
        self,
        *,
        runner: Runner = "serve",
        env: Mapping[str, str] | None = None,
        **options: Option,
    ) -> Entrepot: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what makes the attacks (tests/attack) longer, or repeats one."""
    group = parser.getgroup("attacks")
    group.addoption("--crash-rounds", type=int, default=20, help="how often to kill the proxy")
    group.addoption("--soak-minutes", type=float, default=0.25, help="how long to load it")
    group.addoption("--attack-seed", help="repeat the random choices of a failed attack")
    group.addoption("--fuzz-requests", type=int, default=200, help="how many requests to mangle")
    group.addoption("--page-images", type=int, help="how many images the page shows")
    group.addoption("--page-requests", type=int, default=80_000, help="how many it has on record")
    group.addoption("--model-examples", type=int, help="how many new histories of who gets what")
    group.addoption("--large-blob", type=float, help="GiB of a blob that is sent and hashed whole")
    group.addoption(
        "--fault-table",
        metavar="FILE",
        help="pull every fault with every client, and write the table (about 15 minutes)",
    )
    group.addoption(
        "--outage-table",
        metavar="FILE",
        help="measure what clients get while upstream is away, and write the table (15 minutes)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and put the folders in order."""
    for item in items:
        folder = _folder(item)
        if folder in _MARKED:
            item.add_marker(_MARKED[folder])
    items.sort(key=lambda item: (*_FIRST, _folder(item)).index(_folder(item)))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(_HERE).parts[0] if item.path.is_relative_to(_HERE) else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every server's log below a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"end of {name}'s log", log) for name, log in live_logs().items()]
    return report


@pytest.fixture(scope="session")
def rig_folder() -> Iterator[Path]:
    """A folder for the whole session, with a name short enough for Unix sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="rig-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(rig_folder: Path) -> Iterator[Path]:
    """A folder of the test's own, removed after it: images are large."""
    folder = Path(tempfile.mkdtemp(prefix="", dir=rig_folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def images(rig_folder: Path) -> ImageFactory:
    return ImageFactory(rig_folder / "images")


@pytest.fixture(scope="session")
def upstreams(rig_folder: Path) -> Iterator[Upstreams]:
    """All upstream registries (see rig.upstreams for their names)."""
    need("nginx", "docker-registry", "setpriv")
    upstreams = Upstreams(rig_folder / "upstreams")
    try:
        upstreams.start()
        yield upstreams
    finally:
        upstreams.stop()


@pytest.fixture(scope="session")
def fault_server(upstreams: Upstreams) -> Iterator[FaultServer]:
    """fault.example.test and, as a second host, fault-cdn.example.test."""
    server = FaultServer(upstreams.authority, "fault.example.test", "fault-cdn.example.test")
    yield server
    server.stop()


@pytest.fixture
def faults(fault_server: FaultServer) -> FaultServer:
    """The fault server with no routes and an empty record."""
    fault_server.begin_anew()
    return fault_server


@pytest.fixture(scope="session")
def forks(rig_folder: Path) -> Forks:
    return Forks(rig_folder)


@pytest.fixture
def start_entrepot(
    folder: Path,
    upstreams: Upstreams,
    fault_server: FaultServer,
    forks: Forks,
    request: pytest.FixtureRequest,
) -> Iterator[StartEntrepot]:
    """Start proxies with options of their own; each gets a data folder of its own."""
    started: list[Entrepot] = []
    unforked = request.node.get_closest_marker("unforked") is not None

    def start(
        *,
        runner: Runner = "serve",
        env: Mapping[str, str] | None = None,
        **options: Option,
    ) -> Entrepot:
        given: dict[str, Option] = {
            "upstream_ca": str(upstreams.authority.pem),
            "resolve": [*upstreams.resolve, *fault_server.resolve],
            **options,
        }
        entrepot = Entrepot(
            folder / f"entrepot-{len(started)}",
            given,
            runner=runner,
            env=env,
            launch=start_program if unforked or env or runner != "serve" else forks.launch,
        )
        started.append(entrepot)
        entrepot.start()
        return entrepot

    yield start
    for entrepot in started:
        entrepot.kill9()


@pytest.fixture
def entrepot(start_entrepot: StartEntrepot) -> Entrepot:
    """A running proxy with an empty cache."""
    return start_entrepot()
