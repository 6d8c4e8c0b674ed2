"""Logins from docker's credential helpers: programs named ``docker-credential-NAME``.

``get`` is their only argument here, the server's name their input, and ``{"Username", "Secret"}``
their output; the user name ``<token>`` says that the secret is an identity token
(docker/docker-credential-helpers). A login is kept for half an hour, and asked for again where it
was refused: some last for hours only. A helper that fails is left alone for a minute.
"""

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.account import Login, LoginKind

DEADLINE_SECONDS = 10.0
KEPT_SECONDS = 1800.0
REST_SECONDS = 60.0
_LARGEST = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IDENTITY = "<token>"


class HelperError(Exception):
    """A helper gave no login; the text quotes nothing of what it said."""


class CredentialHelper:
    """One helper for one server: the source of an account's login. Safe to call from threads."""

    def __init__(self, name: str, server: str, events: Events, clock: Callable[[], float]) -> None:
        """Raises ValueError where ``name`` is none: it must not lead elsewhere on the disk."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"expected the name of a credential helper, got {name!r}")
        self.program = f"docker-credential-{name}"
        self._server = server
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._asked = float("-inf")

    def __call__(self, refused: Login | None) -> Login | None:
        """The login, None where there is none; asked for where it is old, or ``refused``."""
        with self._lock:  # one process at a time; who waits gets what it says
            age = self._clock() - self._asked
            wanted = self._login is None or self._login == refused or age >= KEPT_SECONDS
            if wanted and age >= REST_SECONDS:
                self._ask()
            return self._login

    def _ask(self) -> None:
        """Run the helper. Where it fails, what it said before may still be good."""
        try:
            self._login = ask(self.program, self._server)
        except HelperError as error:
            self._events.log(
                Event.CREDENTIAL_HELPER_FAILED,
                helper=self.program,
                registry=self._server,
                reason=error,
            )
        self._asked = self._clock()


def ask(program: str, server: str, seconds: float = DEADLINE_SECONDS) -> Login:
    """Ask a helper for the login of a server. Raises :class:`HelperError`."""
    path = shutil.which(program)
    if path is None:
        raise HelperError("there is no such program")
    try:
        process = subprocess.Popen(  # noqa: S603 its name was checked, its input goes by a pipe
            [path, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise HelperError(f"it cannot be run: {error.strerror}") from None
    with process:
        try:
            output = _talk(process, server.encode(), seconds)
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise HelperError(f"it did not end within {seconds:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it started
    if status != 0:
        raise HelperError(f"it ended with status {status}")
    return _parse(output)


def _talk(process: "subprocess.Popen[bytes]", server: bytes, seconds: float) -> bytes:
    """Send the server's name and read the answer, which must be small and in time."""
    assert process.stdin is not None  # noqa: S101 both are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(server + b"\n")
    process.stdin.close()
    until, output = time.monotonic() + seconds, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, until - time.monotonic())):
            part = os.read(process.stdout.fileno(), _LARGEST)
            output += part
            if not part:
                return output
            if len(output) > _LARGEST:
                raise HelperError("it printed too much")
    raise subprocess.TimeoutExpired(process.args, seconds)


def _parse(output: bytes) -> Login:
    try:
        document = json.loads(output)
        username, secret = document["Username"], document["Secret"]
        usable = isinstance(username, str) and isinstance(secret, str) and bool(secret)
    except (ValueError, KeyError, TypeError, RecursionError):
        usable = False
    if not usable:
        raise HelperError("it printed no login")
    if username == _IDENTITY:
        return Login(username, secret, LoginKind.IDENTITY)
    if ":" in username:
        raise HelperError("it printed a user name with a colon")
    return Login(username, secret)
