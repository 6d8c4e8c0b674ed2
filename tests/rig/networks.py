"""Network namespaces of a test's own: a gateway with the proxy, its clients, and what lies beyond.

    clients                  gateway                  beyond
    10.77.1.2    -----    10.77.1.1, 10.77.2.1   -----   10.77.2.2 and more
    fd77:1::2             fd77:1::1, fd77:2::1           fd77:2::2 and more

Each lives as long as a process that waits, so nothing of them is seen by the machine, or left.
A socket belongs to the namespace in which it was made: the test makes its clients' sockets in one
and listens in another, by threads that enter it, and the rig's servers stay where they are.
"""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from rig.process import PATH, RigError, program

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """One network namespace."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            [
                *(program("setpriv"), "--pdeathsig", "KILL", "--", program("unshare"), "--net"),
                *("sh", "-c", "ip link set lo up && echo ready && read _"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": PATH},
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            raise RigError(f"no network namespace: {self._holder.communicate()[1].strip()}")

    @property
    def pid(self) -> int:
        """A process in it."""
        return self._holder.pid

    @property
    def prefix(self) -> list[str]:
        """The words before a command that run it here."""
        return [program("nsenter"), f"--net=/proc/{self.pid}/ns/net"]

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command here to its end."""
        argv = [*self.prefix, *map(str, words)]
        return subprocess.run(
            argv, capture_output=True, text=True, env={"PATH": PATH}, timeout=60, check=False
        )

    def script(self, lines: str) -> None:
        """Run shell commands here; raise where one fails."""
        finished = self.run("sh", "-euc", lines)
        if finished.returncode:
            raise RigError(f"{lines}\n{finished.stderr}")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let sockets that this thread makes in the block belong here."""
        with ExitStack() as files:
            own = files.enter_context(Path("/proc/thread-self/ns/net").open())
            here = files.enter_context(Path(f"/proc/{self.pid}/ns/net").open())
            _enter(here.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    def connect(self, host: str, port: int, timeout: float = 60) -> socket.socket:
        """Return a connection made from here."""
        with self.entered():
            return socket.create_connection((host, port), timeout)

    def stop(self) -> None:
        """End it, with the connections in it."""
        self._holder.communicate("\n")


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEW_NETWORK):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Networks:
    """The three, with their addresses; `beyond` has more of these, one a server."""

    def __init__(self) -> None:
        self.clients, self.gateway, self.beyond = Network(), Network(), Network()
        try:
            self._connect()
        except RigError:
            self.stop()
            raise

    def _connect(self) -> None:
        for network, wire, number in ((self.clients, "inner", 1), (self.beyond, "outer", 2)):
            self.gateway.script(
                f"ip link add {wire} type veth peer name uplink netns {network.pid}\n"
                f"ip address add 10.77.{number}.1/24 dev {wire}\n"
                f"ip address add fd77:{number}::1/64 dev {wire} nodad\n"
                f"ip link set {wire} up"
            )
            network.script(
                f"ip address add 10.77.{number}.2/24 dev uplink\n"
                f"ip address add fd77:{number}::2/64 dev uplink nodad\n"
                "ip link set uplink up\n"
                f"ip route add default via 10.77.{number}.1\n"
                f"ip route add default via fd77:{number}::1"
            )
        self.gateway.script(
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
        )

    def add_beyond(self, last: int) -> tuple[str, str]:
        """Give `beyond` one more address of each family, by their last number; return both."""
        four, six = f"10.77.2.{last}", f"fd77:2::{last:x}"
        self.beyond.script(
            f"ip address add {four}/24 dev uplink\nip address add {six}/64 dev uplink nodad"
        )
        return four, six

    def stop(self) -> None:
        for network in (self.clients, self.gateway, self.beyond):
            network.stop()


class Doors:
    """Listens at addresses of a namespace, and leads each connection to a loopback port here.

    `connections` are the doors, as (address, port), through which one came.
    """

    def __init__(self, network: Network | None) -> None:
        """`network` None: on this machine's own loopback."""
        self._network = network
        self._listeners: list[socket.socket] = []
        self.connections: list[tuple[str, int]] = []

    def open(self, addresses: Sequence[str], port: int, target: int) -> None:
        """Lead from each address and port to the target."""
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with self._network.entered() if self._network else nullcontext():
                listener = socket.create_server((address, port), family=family, backlog=100)
            self._listeners.append(listener)
            serve = threading.Thread(
                target=self._serve, args=(listener, (address, port), target), daemon=True
            )
            serve.start()

    def _serve(self, listener: socket.socket, door: tuple[str, int], target: int) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.connections.append(door)
            threading.Thread(target=_join, args=(near, target), daemon=True).start()

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _join(near: socket.socket, target: int) -> None:
    with near, socket.create_connection(("127.0.0.1", target)) as far:
        back = threading.Thread(target=_carry, args=(far, near), daemon=True)
        back.start()
        _carry(near, far)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and its end; where that fails, end both ways."""
    try:
        while data := source.recv(1 << 18):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
