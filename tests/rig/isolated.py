"""A network of one's own: loopback only, with firewall rules and names that concern nobody else.

What runs in it runs in a thread; threads and processes that it starts are in it as well. Packets
are dropped by nftables, not by a stand-in: nothing arrives, and nothing says so.
"""

import ctypes
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rig.process import clean_environment, program

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
T = TypeVar("T")


class Network:
    """Names lead to 127.0.0.1; what else is looked up is asked of nobody (127.0.0.1, port 53)."""

    def __init__(self, folder: Path, *names: str) -> None:
        self._names = names
        self._hosts = folder / "hosts"
        resolver = folder / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\n")
        self.know_names()
        _run("mount", "--make-rprivate", "/")
        for content, path in ((self._hosts, "/etc/hosts"), (resolver, "/etc/resolv.conf")):
            _run("mount", "--bind", str(content), path)
        _run("ip", "link", "set", "lo", "up")

    def know_names(self) -> None:
        self._hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in self._names))

    def forget_names(self) -> None:
        """From now on they have to be asked for, and nobody answers."""
        self._hosts.write_text("")

    @contextmanager
    def refusing(self, *ports: int) -> Iterator[None]:
        """End and refuse what goes to these TCP ports, as where nothing listens."""
        rules = [f"tcp dport {port} reject with tcp reset" for port in ports]
        with _rules(*rules):
            yield

    @contextmanager
    def dropping(self, *ports: int) -> Iterator[None]:
        """Drop every packet to and from these ports, TCP and UDP."""
        with _rules(*(f"th {side} {port} drop" for port in ports for side in ("dport", "sport"))):
            yield


def isolated(function: Callable[[Path], T]) -> T:
    """Run in a network of its own, with a folder of its own; needs root."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, f"unshare: {os.strerror(number)}")  # noqa: TRY301
            with tempfile.TemporaryDirectory(prefix="net-", dir="/tmp") as folder:
                result.set_result(function(Path(folder)))
        except BaseException as error:  # noqa: BLE001 it is raised where the function was asked for
            result.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result.result()


@contextmanager
def _rules(*rules: str) -> Iterator[None]:
    # Where packets come in: on their way out the kernel would tell the sender (EPERM).
    chain = "add chain inet rig in { type filter hook input priority 0; }"
    lines = ["add table inet rig", chain, *(f"add rule inet rig in {rule}" for rule in rules)]
    _run("nft", "-f", "-", stdin="\n".join(lines) + "\n")
    try:
        yield
    finally:
        _run("nft", "delete", "table", "inet", "rig")


def _run(name: str, *words: str, stdin: str = "") -> None:
    subprocess.run(
        [program(name), *words],
        input=stdin,
        text=True,
        check=True,
        env=clean_environment(Path("/")),
        capture_output=True,
    )
