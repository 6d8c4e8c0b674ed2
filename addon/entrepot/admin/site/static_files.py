"""Style sheets, scripts and fonts: read from the package when first asked for, then from memory."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_FOLDER = Path(__file__).parent.parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PREFIX = "/ui/static/"
_FOREVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """The files by their names; an address names the content too, so a browser may keep it."""

    def __init__(self) -> None:
        files = (file for file in _FOLDER.rglob("*") if file.suffix in _TYPES)
        self._files = {file.relative_to(_FOLDER).as_posix(): file for file in files}
        self._read: dict[str, tuple[bytes, str]] = {}

    def address(self, name: str) -> str:
        """Where a browser gets a file."""
        return f"{PREFIX}{name}?v={self._content(name)[1]}"

    def _content(self, name: str) -> tuple[bytes, str]:
        """A file, and a short hash of it. Raises KeyError."""
        if name not in self._read:
            content = self._files[name].read_bytes()
            self._read[name] = content, hashlib.sha256(content).hexdigest()[:12]
        return self._read[name]

    async def answer(self, request: Request) -> Response:
        """Give a file."""
        name = str(request.path_params["name"])
        if name not in self._files:
            return Response("no such file\n", 404, media_type="text/plain")
        content, version = self._content(name)
        fields = {"etag": f'"{version}"'}
        if request.query_params.get("v") == version:
            fields["cache-control"] = _FOREVER
        if request.headers.get("if-none-match") == f'"{version}"':
            return Response(status_code=304, headers=fields)
        kind = _TYPES[self._files[name].suffix]
        return Response(content, headers={**fields, "content-type": kind})
