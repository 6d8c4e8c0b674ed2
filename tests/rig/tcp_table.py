"""The kernel's table of TCP sockets (proc_net_tcp(5)), as far as tests ask what is connected."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Those states that tests ask for, as the table has them."""

    ESTABLISHED = "01"
    CLOSE_WAIT = "08"


LOOPBACK = "0100007F"
"""127.0.0.1 in the table."""


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One end of a connection, and bytes in its queues; addresses as the table has them."""

    address: str
    port: int
    peer_address: str
    peer_port: int
    state: str
    unsent: int
    """Bytes that its peer has not confirmed."""
    unread: int
    inode: str


def tcp_sockets(*tables: str) -> Iterator[TcpSocket]:
    """All sockets of this network namespace in these tables: `tcp`, `tcp6`."""
    for table in tables:
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, ours, theirs, state, queues, _, _, _, _, inode, *_ = line.split()
            unsent, unread = (int(queue, 16) for queue in queues.split(":"))
            yield TcpSocket(*_place(ours), *_place(theirs), state, unsent, unread, inode)


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port, 16)
