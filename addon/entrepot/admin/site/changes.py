"""What a page changes: images are removed, pinned, unpinned; each time with a line in the log."""

import json
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from entrepot.admin.access.guard import client_of
from entrepot.admin.data.reader import Reader
from entrepot.admin.site.sign_in import content_of
from entrepot.events.table import Event

ACTIONS = ("remove", "pin", "unpin")
_STATUSES = {
    "bad_request": 400,
    "not_cached": 404,
    "pinned": 409,
    "too_large": 409,
    "no_limit": 409,
}


class Changes:
    """Answers `POST /api/images/…`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def of(self, action: str) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of one action."""

        async def change(request: Request) -> Response:
            return await self._change(action, request)

        return change

    async def _change(self, action: str, request: Request) -> Response:
        try:
            asked = json.loads(await content_of(request))
        except (ValueError, RecursionError):
            return JSONResponse({"ok": False, "code": "bad_request", "error": "no JSON"}, 400)
        members = asked if isinstance(asked, dict) else {}
        dry_run = action == "remove" and members.get("dry_run") is True
        answer = await self._reader.ask(
            {"do": action, "names": members.get("names"), "dry_run": dry_run}
        )
        if not dry_run:
            self._log(action, members.get("names"), answer, client_of(request.scope))
        status = 200 if answer["ok"] else _STATUSES.get(str(answer.get("code")), 500)
        return JSONResponse(answer, status)

    def _log(self, action: str, names: object, answer: dict[str, object], client: str) -> None:
        said = names if isinstance(names, list) else []
        self._reader.sources.events.log(
            Event.PAGE_CHANGED,
            client=client,
            action=action,
            names=",".join(map(str, said))[:1000],
            outcome="done" if answer["ok"] else answer.get("error"),
        )
