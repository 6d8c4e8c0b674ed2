"""The proxy under test as a process: `entrepot serve`, or mitmdump with the addon's file.

The environment variable ENTREPOT_PYTHON chooses the interpreter, and with it the installation
(the checkout's virtual environment, another Python's, or one with the built wheel).
"""

import fcntl
import http.client
import os
import re
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from entrepot.control.client import connected
from rig.client import Answer, Client
from rig.networks import Network
from rig.ports import free_port
from rig.process import (
    PATIENCE,
    Daemon,
    Launch,
    RigError,
    answers,
    clean_environment,
    eventually,
    start_program,
)
from rig.route import Route, bundle

Runner = Literal["serve", "mitmdump"]
Option = str | bool | Sequence[str] | None

PYTHON = os.environ.get("ENTREPOT_PYTHON", sys.executable)
ADDON = Path(__file__).parents[2] / "addon" / "main.py"
_LISTENING = re.compile(r'(?: listening |"event": ?"listening").*\n')
_MITMDUMP = "from mitmproxy.tools.main import mitmdump; mitmdump()"


class Entrepot:
    """One proxy with its data in `folder`; options are the command line's, `_` for `-`.

    A string is one value, a sequence a repeated option, True a flag; None leaves away what is said
    otherwise.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Option],
        *,
        runner: Runner = "serve",
        env: Mapping[str, str] | None = None,
        network: Network | None = None,
        wrapper: Sequence[str] = (),
        launch: Launch = start_program,
    ) -> None:
        """`network` is where it runs; `wrapper` are words before its command."""
        folder.mkdir(parents=True, exist_ok=True)
        self._network = network
        self.folder = folder
        self.data = Path(str(options.get("data") or folder / "data"))
        host, _, port = str(options.get("listen", "")).rpartition(":")
        self.port = int(port) if port else free_port()
        self.address = "::1" if host.startswith("[") else "127.0.0.1"
        self._takes_default_port = runner == "mitmdump"
        self._is_forked = launch is not start_program
        given = {"listen": f"127.0.0.1:{self.port}", "data": str(self.data), **options}
        given = {name: value for name, value in given.items() if value is not None}
        self.daemon = Daemon(
            "entrepot",
            [
                *(network.prefix if network else ()),
                *wrapper,
                *(_serve(given) if runner == "serve" else _mitmdump(given)),
            ],
            log=folder / "entrepot.log",
            env=clean_environment(folder, PYTHONUNBUFFERED="1", **(env or {})),
            ready=self._is_ready,
            cwd=folder,
            within=PATIENCE,
            launch=launch,
        )

    def _is_ready(self) -> bool:
        """Whether it answers, and has said so: what follows in its log is of what tests do."""
        with self._entered():
            has_answered = answers(self.port, "/healthz", host=self.address)
        return has_answered and _LISTENING.search(self.daemon.log_of_this_start) is not None

    def _entered(self) -> AbstractContextManager[None]:
        return self._network.entered() if self._network else nullcontext()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.daemon.log

    @property
    def pid(self) -> int:
        return self.daemon.pid

    def start(self) -> None:
        with default_port() if self._takes_default_port else nullcontext():
            self.daemon.start()

    def terminate(self, within: float = PATIENCE) -> int:
        """SIGTERM; return the exit status of an orderly end, or fail when there is none."""
        self.daemon.signal(signal.SIGTERM)
        self.daemon.wait(within)
        return self.daemon.kill9()

    def kill9(self) -> None:
        self.daemon.kill9()

    def restart(self) -> None:
        """End it in order if it still runs, and start it again: the same port and data."""
        if self.daemon.running():
            self.terminate()
        self.start()

    def local(self, path: str) -> Answer:
        """GET something that the proxy itself serves, by plain HTTP."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=PATIENCE)
        try:
            with self._entered():
                connection.connect()
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def counter(self, event: str) -> int:
        """How often something happened, as /healthz counts it."""
        counters = self.local("/healthz").json()["counters"]
        assert isinstance(counters, dict)
        return int(counters.get(event, 0))

    def await_put_right(self) -> None:
        """Wait until it has looked through what an end without order left."""
        eventually(lambda: self.counter("store_recovered"), what="put right")

    def await_stored(self, digests: Iterable[str]) -> None:
        """Wait until these blobs are stored: until then a request for one follows its fetch."""
        lines = [f"blob_stored digest={digest}" for digest in digests]
        what = f"{len(lines)} blobs stored"
        eventually(lambda: all(line in self.log for line in lines), what=what)

    def await_rest(self) -> None:
        """Wait until no download is left: what is decided at the end of one counts from then on."""
        eventually(lambda: not self._downloads(), what="no download is left")

    def _downloads(self) -> object:
        with connected(self.data) as ask:
            if ask is None:
                raise RigError(f"nobody answers for {self.data}")
            return ask({"do": "status"})["downloads"]

    @property
    def ca_pem(self) -> bytes:
        """The authority that it signs with, as clients get it."""
        answer = self.local("/ca.pem")
        if answer.status != 200 or b"BEGIN CERTIFICATE" not in answer.body:
            raise RigError(f"GET /ca.pem: got {answer.status} {answer.body[:200]!r}")
        return answer.body

    def client(
        self,
        *also_trusted: Path,
        timeout: float = 60,
        source: str | None = None,
        proxy_authorization: str | None = None,
    ) -> Client:
        """Return a client that trusts the proxy's authority, and others if asked."""
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        for pem in also_trusted:
            context.load_verify_locations(pem)
        return Client(
            self.port,
            context,
            timeout=timeout,
            proxy_address=self.address,
            source=source,
            proxy_authorization=proxy_authorization,
        )

    def stranger(self, *trusted: Path) -> Client:
        """Return a client that does not trust the proxy's authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for pem in trusted:
            context.load_verify_locations(pem)
        return Client(self.port, context, proxy_address=self.address)

    def route(self) -> Route:
        """Return the environment that sends real clients here."""
        return Route(self.url, bundle(self.folder / "trusted.pem", self.ca_pem))

    def rss(self) -> int:
        """Return its resident memory in bytes."""
        return self._memory("VmRSS")

    def rss_peak(self) -> int:
        """Return the most resident memory it ever had (or since `reset_rss_peak`), in bytes."""
        return self._memory("VmHWM")

    def reset_rss_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _memory(self, name: str) -> int:
        if self._is_forked:
            raise RigError("a fork has less memory than a start: mark the test `unforked`")
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        if not found:
            raise RigError(f"no {name} in /proc/{self.pid}/status")
        return int(found[1]) * 1024


@contextmanager
def default_port() -> Iterator[None]:
    """Keep other tests from starting mitmdump: it opens port 8080 before the addon moves it."""
    with Path(tempfile.gettempdir(), "entrepot-rig-8080.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _serve(options: Mapping[str, Option]) -> list[str]:
    return [
        PYTHON,
        "-m",
        "entrepot.cli",
        "serve",
        *(w for o in options.items() for w in _words(*o)),
    ]


def _words(name: str, value: Option) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else []
    values = [value] if isinstance(value, str) else value or ()
    return [word for one in values for word in (flag, one)]


def _mitmdump(options: Mapping[str, Option]) -> list[str]:
    return [
        PYTHON,
        "-c",
        _MITMDUMP,
        "-s",
        str(ADDON),
        *(w for o in options.items() for w in _set(*o)),
    ]


def _set(name: str, value: Option) -> list[str]:
    if isinstance(value, bool):
        value = str(value).lower()
    values = [value] if isinstance(value, str) else value or ()
    return [word for one in values for word in ("--set", f"entrepot_{name}={one}")]
