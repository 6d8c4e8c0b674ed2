"""The token that the page asks of who changes something.

It is said by ``--admin-token``, or made at the first use and kept in the data folder, for the
proxy's own user.
"""

import contextlib
import hmac
import os
import secrets
from pathlib import Path

FILE_NAME = "admin-token"
_LEAST = 16
_MOST = 200


class AdminToken:
    """Compares what somebody shows with the token; for any thread."""

    def __init__(self, said: str | None, folder: Path) -> None:
        """``said`` is the option's value: a token, ``@FILE``, or None for the folder's own."""
        in_file = said is None or said.startswith("@")
        self.file = Path(said[1:]) if said is not None and in_file else folder / FILE_NAME
        """Where it is, if it is not said by the option itself."""
        self.is_in_file = in_file
        self._made_here = said is None
        self._token = "" if in_file or said is None else said

    def prepare(self) -> None:
        """Read or make it. Raises OSError, or ValueError where the file has no usable token."""
        if not self.is_in_file or self._token:
            return
        if self._made_here:
            self._make()
        self._token = _usable(self.file.read_text(encoding="utf-8"), self.file)

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            made = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(made, "w", encoding="utf-8") as file:
                file.write(f"{secrets.token_urlsafe(24)}\n")

    def is_shown(self, text: str) -> bool:
        """Whether this is the token, in the same time whatever it is."""
        shown, token = text.strip().encode(), self._token.encode()
        return hmac.compare_digest(shown, token) and bool(token)


def _usable(text: str, file: Path) -> str:
    token = text.strip()
    if not _LEAST <= len(token) <= _MOST or not token.isascii() or not token.isprintable():
        raise ValueError(f"{file}: expected a token of {_LEAST} to {_MOST} characters")
    return token
