"""A real squid as a company's proxy: with a password, over plain HTTP and over TLS.

It alone finds the rig's names, by a hosts file: each leads to a loopback address of its own, where
a relay at the name's own port leads on to the real one. So it takes root, for 443.
"""

import random
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rig.certs import Authority
from rig.corporate import RelayServer, serving
from rig.ports import free_port
from rig.process import Daemon, accepts, clean_environment, eventually, program
from rig.tcp_table import State, tcp_sockets

PROXY_NAME = "127.0.0.1"
FORBIDDEN, NOWHERE = "forbidden.example.test", "nowhere.example.test"
_USER = "proxy"  # Debian's; squid gives up root
_CHECKER = "/usr/lib/squid/basic_ncsa_auth"


@dataclass(frozen=True, slots=True)
class Passed:
    """A line of squid's access log."""

    user: str
    method: str
    url: str
    status: int


class Squid:
    """Listens for plain HTTP on `port` (127.0.0.1 and ::1), and for TLS on `tls_port`.

    `folder` becomes squid's own: one to which another user has a way.
    `resolve` are HOST:PORT:ADDRESS:PORT lines, ADDRESS on loopback. FORBIDDEN is refused to all;
    at NOWHERE nobody listens.
    """

    def __init__(
        self,
        folder: Path,
        resolve: Iterable[str],
        account: str,
        password: str,
        authority: Authority,
    ) -> None:
        self._folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self._login = f"{quote(account, safe='')}:{quote(password, safe='')}"
        self._running = ExitStack()
        self._entrances = _entrances(resolve)
        checked = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"],
            input=password,
            capture_output=True,
            text=True,
            check=True,
        )
        (folder / "passwd").write_text(f"{account}:{checked.stdout}")
        hosts = [f"{address} {host}\n" for host, _, address, _, _ in self._entrances]
        (folder / "hosts").write_text("".join([*hosts, f"127.0.0.1 {FORBIDDEN} {NOWHERE}\n"]))
        leaf = authority.issue(PROXY_NAME)
        for file in (leaf.cert, leaf.key):
            shutil.copy(file, folder / f"tls{file.suffix}")
        config = folder / "squid.conf"
        config.write_text(self._config())
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, _USER)
        self.daemon = Daemon(
            "squid",
            [program("squid"), "-N", "-f", config],
            log=folder / "squid.log",
            env=clean_environment(folder),
            ready=lambda: accepts(self.port),
        )

    def url(self, scheme: str = "http", host: str = PROXY_NAME) -> str:
        """The address with the login in it."""
        port = self.tls_port if scheme == "https" else self.port
        return f"{scheme}://{self._login}@{host}:{port}"

    def start(self) -> None:
        for _, port, address, real, target in self._entrances:
            self._running.enter_context(serving(RelayServer((address, port), (real, target))))
        self.daemon.start()

    def stop(self) -> None:
        self.daemon.stop()
        self._running.close()

    def await_rest(self) -> None:
        """Wait until nobody is connected to it: all that was asked is written down by then."""
        if self.daemon.running():
            eventually(lambda: not _connected_to(self.port, self.tls_port), what="squid rests")

    def passed(self) -> list[Passed]:
        """What it was asked for and how that ended; a tunnel is written down at its end.

        Connections on which nothing was asked do not count.
        """
        lines = (self._folder / "access.log").read_text().splitlines()
        words = (line.split() for line in lines)
        all_of_them = (Passed(user, how, url, int(status)) for user, how, url, status in words)
        return [one for one in all_of_them if one.method != "-"]

    def _config(self) -> str:
        folder = self._folder
        return f"""
http_port 127.0.0.1:{self.port}
http_port [::1]:{self.port}
https_port 127.0.0.1:{self.tls_port} tls-cert={folder}/tls.pem tls-key={folder}/tls.key
auth_param basic program {_CHECKER} {folder}/passwd
auth_param basic children 2
acl known proxy_auth REQUIRED
acl tls_ports port 443 5443
acl forbidden dstdomain {FORBIDDEN}
acl CONNECT method CONNECT
http_access deny CONNECT !tls_ports
http_access deny forbidden
http_access allow known
http_access deny all
hosts_file {folder}/hosts
dns_nameservers 127.0.0.1
dns_timeout 1 second
udp_incoming_address 127.0.0.1
udp_outgoing_address 127.0.0.1
connect_timeout 5 seconds
cache deny all
cache_effective_user {_USER}
pid_filename {folder}/squid.pid
coredump_dir {folder}
logformat rig %un %rm %ru %>Hs
access_log stdio:{folder}/access.log rig
cache_log {folder}/cache.log
cache_store_log none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
"""


def _connected_to(*ports: int) -> bool:
    """Whether anybody has a connection to one of these ports that squid has not closed."""
    held = (State.ESTABLISHED, State.CLOSE_WAIT)
    return any(one.state in held and one.port in ports for one in tcp_sockets("tcp", "tcp6"))


_Way = tuple[str, int, str, str, int]


def _entrances(resolve: Iterable[str]) -> list[_Way]:
    """Give each name an address that nobody else uses."""
    net = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}"  # noqa: S311 - not a secret
    ways = []
    for number, line in enumerate(resolve, start=1):
        host, port, real, target = line.split(":")
        ways.append((host, int(port), f"{net}.{number}", real, int(target)))
    return ways
