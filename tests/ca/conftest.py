"""What these tests share: a TLS server, a plain one, and a machine of the test's own.

The machine is a private mount namespace with an overlay over each folder that scripts may touch.
"""

import atexit
import functools
import hashlib
import ipaddress
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mitmproxy.certs import CertStore

TOUCHED = ("/etc", "/usr/local/share")
# Of a copy, since who installs a package meanwhile changes those folders. /run is hidden, so that
# no script finds the systemd of the real machine.
MOUNTS = """
set -e
mount -t tmpfs none "$1"
mount -t tmpfs none /run
for folder in /etc /usr/local/share; do
    mkdir -p "$1$folder/upper" "$1$folder/work"
    mount -t overlay none "$folder" \
        -o "lowerdir=$2$folder,upperdir=$1$folder/upper,workdir=$1$folder/work"
done
# Hooks write outside of the folders that are ours here.
rm -rf /etc/ca-certificates/update.d
echo ready
read -r _
"""
# All that the scripts call: no openssl among them.
TOOLS = (
    *("awk", "base64", "cat", "chmod", "cmp", "cut", "date", "grep", "id", "mkdir", "mktemp", "mv"),
    *("od", "paste", "rm", "rmdir", "sed", "sh", "sha256sum", "sort", "tail", "tr", "uname"),
)
SHELLS = ("dash", "busybox")


class Files(ThreadingHTTPServer):
    """Has a body for some paths, and answers 404 to all others."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self.bodies = bodies
        super().__init__(("127.0.0.1", 0), Answer)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve in a thread; gives the port."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self.server_address[1]
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A refused handshake is what some of the tests are about."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Files

    def do_GET(self) -> None:
        body = self.server.bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep silent."""


class EngineSocket(Files):
    """Answers at a Unix socket, as an Engine does."""

    address_family = socket.AF_UNIX

    def __init__(self, path: Path, bodies: Mapping[str, bytes]) -> None:
        self.bodies = bodies
        ThreadingHTTPServer.__init__(self, str(path), Answer)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Bind, without a name and a port that HTTPServer wants to know."""
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Give the client the address that a handler writes into its log."""
        return self.socket.accept()[0], ("engine", 0)


@contextmanager
def _answering(bodies: Mapping[str, bytes]) -> Iterator[str]:
    """Serve these bodies by plain HTTP; gives the address (host:port)."""
    with Files(bodies).running() as port:
        yield f"127.0.0.1:{port}"


Answering = Callable[[Mapping[str, bytes]], AbstractContextManager[str]]


@pytest.fixture
def answering() -> Answering:
    """A context that serves bodies by path on a loopback port; gives host:port."""
    return _answering


@contextmanager
def _serving(folder: Path, host: str) -> Iterator[int]:
    """Serve TLS on a loopback port with the leaf that mitmproxy makes for `host`."""
    store = CertStore.from_store(folder, "mitmproxy", 2048)
    try:
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    entry = store.get_cert(host, [name])
    pem = folder / "leaf.pem"
    pem.write_bytes(
        entry.privatekey.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + entry.cert.to_pem()
        + b"".join(certificate.to_pem() for certificate in entry.chain_certs)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Files({})  # a 404 is what a client gets that has accepted the certificate
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    with server.running() as port:
        yield port


Serving = Callable[[Path, str], AbstractContextManager[int]]


@pytest.fixture
def serving() -> Serving:
    """A context that serves TLS, by the authority in a folder, for a host; gives the port."""
    return _serving


@dataclass
class Machine:
    """What the scripts see: its root folder as seen from here, the shell, the programs in PATH."""

    pid: int
    shell: str
    bin: Path
    variables: dict[str, str] = field(default_factory=dict)

    def at(self, path: str) -> Path:
        """Where one of its files is, for the test; do not follow symlinks there."""
        return Path(f"/proc/{self.pid}/root{path}")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        target.chmod(mode)

    def offer(self, *programs: str) -> None:
        """Put programs of the real machine into PATH."""
        for program in programs:
            found = shutil.which(program)
            if found is None:
                pytest.skip(f"{program} is not installed")
            (self.bin / program).symlink_to(found)

    def offer_wget(self) -> None:
        """Put the wget of the shell's distribution into PATH: GNU's or busybox's."""
        if self.shell == "busybox":
            (self.bin / "wget").symlink_to(shutil.which("busybox") or "")
        else:
            self.offer("wget")

    def program(self, name: str, script: str) -> None:
        """Put a program of the test's own into PATH."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def inside(
        self, *command: str, path: str | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine; `path` replaces PATH, `stdin` is what it reads."""
        environment = {"PATH": path or str(self.bin), "LC_ALL": "C.UTF-8"} | self.variables
        return subprocess.run(
            ["/usr/bin/nsenter", f"--target={self.pid}", "--mount", *command],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            input=stdin,
        )

    def run(
        self, script: Path, *arguments: str, path: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of our scripts by the machine's shell."""
        return self.inside(*self.words, str(script), *arguments, path=path)

    def pipe(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script that comes by a pipe, as `curl ... | sh -s -- ARGUMENTS` does."""
        return self.inside(*self.words, "-s", "--", *arguments, stdin=script)

    @property
    def words(self) -> tuple[str, ...]:
        """How the machine's shell is called."""
        return (shutil.which(self.shell) or "", *(["sh"] if self.shell == "busybox" else []))

    def listing(self) -> Mapping[str, tuple[int, str]]:
        """Mode and content of everything that the scripts may touch, by path."""
        root = str(self.at(""))
        return {
            path.removeprefix(root): seen for top in TOUCHED for path, seen in _walk(root + top)
        }


def _walk(folder: str) -> Iterator[tuple[str, tuple[int, str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            content = ""
            if entry.is_symlink():
                content = str(Path(entry.path).readlink())
            elif entry.is_file():
                key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
                content = _digest(entry.path, key)
            elif entry.is_dir():
                yield from _walk(entry.path)
            yield entry.path, (status.st_mode, content)


_DIGESTS: dict[tuple[int, ...], str] = {}


def _digest(path: str, key: tuple[int, ...]) -> str:
    """Hash a file of the real machine once for all tests: `key` is what changes when it does."""
    if key not in _DIGESTS:
        _DIGESTS[key] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return _DIGESTS[key]


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose /etc and /usr/local/share are thrown away afterwards."""
    if os.geteuid() != 0:
        pytest.skip("private mounts need root")
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    with machine_at(tmp_path, shell) as made:
        yield made


@functools.cache
def _copied() -> Path:
    """A copy of the real machine's folders, the same for all tests until the run ends."""
    copy = Path(tempfile.mkdtemp(prefix="machine-", dir="/tmp"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for folder in TOUCHED:
        Path(f"{copy}{folder}").parent.mkdir(parents=True, exist_ok=True)
        # What goes away meanwhile is not in it.
        subprocess.run(["cp", "-a", folder, f"{copy}{folder}"], check=False, capture_output=True)
    return copy


@contextmanager
def machine_at(folder: Path, shell: str) -> Iterator[Machine]:
    """A machine that keeps what it changes in a folder, until the end."""
    upper, programs = folder / "upper", folder / "bin"
    upper.mkdir()
    programs.mkdir()
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", MOUNTS, "mounts", str(upper), str(_copied())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline() != "ready\n":
                pytest.skip(f"no private mounts here: {holder.stderr.read().strip()}")
            yield _furnished(Machine(holder.pid, shell, programs))
        finally:
            holder.communicate("\n")


def _furnished(machine: Machine) -> Machine:
    """Give the machine the tools of its shell's distribution: coreutils or busybox's applets."""
    if machine.shell == "busybox":
        busybox = shutil.which("busybox") or ""
        for tool in TOOLS:
            (machine.bin / tool).symlink_to(busybox)
    else:
        machine.offer(*TOOLS)
    return machine
