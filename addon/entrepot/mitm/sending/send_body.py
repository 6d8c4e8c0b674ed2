"""Sending a body in band: the addon's half, which waits for the client and reads the next chunk."""

import contextlib
import socket
from typing import Any

from mitmproxy import connection, ctx, http

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.mitm.sending.chunk_loop import BODY, LEFT, Transfer
from entrepot.mitm.sending.memory_budget import LEAST, Budget
from entrepot.mitm.sending.sendfile import AT_ONCE, Sendfile
from entrepot.mitm.state import ProxyState, client_of
from entrepot.protocol.messages import BodyError

_KERNEL = 512 * 1024
"""Bytes that the kernel holds unsent for a connection; by itself it takes 4 MB."""


class SendBody:
    """Feeds the bodies that ``chunk_loop`` sends."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state
        self._transfers: dict[str, Transfer] = {}
        self._by_kernel: dict[str, Sendfile] = {}
        self._budget = Budget()

    async def entrepot_chunk(self, transfer: Transfer) -> None:
        """Wait for the client to take the last chunk, and get the next."""
        try:
            if transfer.client.id not in self._transfers:
                self._begin(transfer)
            await _writer(transfer.client).drain()
            transfer.sent = await self._sent_by_kernel(transfer)
            if not transfer.sent:
                size = self._budget.grant(transfer.client.id)
                transfer.chunk = await transfer.body.read(size)
        except BodyError as error:
            transfer.cut = str(error)
            if transfer.client.id in self._transfers:
                client = client_of(transfer.client)
                self._state.parts().events.log(Event.TRANSFER_CUT, client=client, reason=error)
            else:
                transfer.cut = LEFT
        except (OSError, KeyError) as error:
            transfer.cut = f"{LEFT}: {error}"
            self._left(transfer.client)
        if transfer.cut is not None or transfer.is_over:
            self._ended(transfer.client)

    def _begin(self, transfer: Transfer) -> None:
        self._transfers[transfer.client.id] = transfer
        if not self._may_send_by_kernel(transfer):
            _hold_little(transfer.client)

    def _may_send_by_kernel(self, transfer: Transfer) -> bool:
        """Whether the next bytes lie in a file from which they may go to the client's socket."""
        if not transfer.plain or transfer.body.stretch(1) is None:
            return False
        if transfer.client.id not in self._by_kernel:
            transport = _writer(transfer.client).transport
            self._by_kernel[transfer.client.id] = Sendfile(transport)
        return True

    async def _sent_by_kernel(self, transfer: Transfer) -> int:
        """How many of the next bytes the kernel has sent, where it can take them from a file."""
        if not self._may_send_by_kernel(transfer):
            return 0
        stretch = transfer.body.stretch(AT_ONCE)
        if stretch is None:
            return 0
        self._budget.release(transfer.client.id)  # it holds nothing
        sent = await self._by_kernel[transfer.client.id].send(stretch)
        transfer.body.skip(sent)
        return sent

    def client_disconnected(self, client: connection.Client) -> None:
        """End the transfer of a client that has left, were it still waiting for bytes."""
        transfer = self._transfers.get(client.id)
        if transfer is not None:
            transfer.body.close()
        self._left(client)

    def _left(self, client: connection.Client) -> None:
        """Count a client that leaves a transfer; it may have read enough, so nothing is said."""
        if client.id in self._transfers:
            self._state.parts().events.count(Counter.CLIENT_LEFT)
        self._ended(client)

    def _ended(self, client: connection.Client) -> None:
        self._budget.release(client.id)
        if by_kernel := self._by_kernel.pop(client.id, None):
            by_kernel.close()
        self._transfers.pop(client.id, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Let go of a body whose client left before it began."""
        body = flow.metadata.pop(BODY, None)
        if body is not None:
            body.close()


def _hold_little(client: connection.Client) -> None:
    """Wait for a client that has not taken the last chunk, and give the kernel no megabytes."""
    with contextlib.suppress(OSError, KeyError):
        transport = _writer(client).transport
        transport.set_write_buffer_limits(LEAST)
        unsent = transport.get_extra_info("socket")
        unsent.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL)


def _writer(client: connection.Client) -> Any:
    handler = ctx.master.addons.get("proxyserver").connections[client.id]
    return handler.transports[client].writer
