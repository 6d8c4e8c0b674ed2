"""The page, for the rest of the proxy: which requests are for it, and their answers.

Few imports: what a page takes is imported when the first is asked for (``admin_thread``).
"""

import socket
from collections.abc import Sequence

from entrepot.admin.access.admin_token import AdminToken
from entrepot.admin.admin_thread import AdminThread
from entrepot.admin.data.sources import Sources
from entrepot.admin.handover import Application
from entrepot.endpoints.page_request import PageRequest
from entrepot.protocol.messages import Answer

_PATHS = ("/ui", "/api")


class AdminSite:
    """The page of one proxy."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._thread = AdminThread(self._make, sources.events)

    @staticmethod
    def takes(request: PageRequest) -> bool:
        """Whether a request to the proxy itself is for the page: of a browser, at `/`."""
        path = request.path
        if path == "/" and request.method in ("GET", "HEAD"):
            return "text/html" in request.value("accept")
        return any(path == own or path.startswith(f"{own}/") for own in _PATHS)

    async def answer(self, request: PageRequest) -> Answer:
        """Answer a request that :meth:`takes` says is the page's."""
        return await self._thread.answer(request)

    def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Serve at sockets of its own, too."""
        self._thread.listen(sockets)

    def stop(self) -> None:
        """Answer no more."""
        self._thread.stop()

    def _make(self) -> Application:
        from entrepot.admin.site.application import make_application  # noqa: PLC0415 on its thread

        config = self._sources.config
        return make_application(self._sources, AdminToken(config.admin_token, config.data))
