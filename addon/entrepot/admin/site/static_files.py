"""Style sheets, scripts and fonts: from the package."""

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
    """The files by their names.

    Their address has a hash of them all in it, so a browser may keep each, and what a file names
    beside it is of the same version.
    """

    def __init__(self) -> None:
        files = (file for file in sorted(_FOLDER.rglob("*")) if file.suffix in _TYPES)
        self._files = {file.relative_to(_FOLDER).as_posix(): file for file in files}
        whole = hashlib.sha256()
        for name, file in self._files.items():
            whole.update(name.encode() + file.read_bytes())
        self._version = whole.hexdigest()[:12]

    def address(self, name: str) -> str:
        """Where a browser gets a file. Raises KeyError where there is none."""
        return f"{PREFIX}{self._version}/{self._files[name].relative_to(_FOLDER).as_posix()}"

    async def answer(self, request: Request) -> Response:
        """Give a file; one of another version is not kept."""
        file = self._files.get(str(request.path_params["name"]))
        if file is None:
            return Response("no such file\n", 404, media_type="text/plain")
        fields = {"content-type": _TYPES[file.suffix]}
        if request.path_params["version"] == self._version:
            fields["cache-control"] = _FOREVER
        return Response(file.read_bytes(), headers=fields)
