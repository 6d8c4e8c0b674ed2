"""A client of registries that goes through the proxy, as docker does: so every rule of it holds.

It shows the logins of docker's `config.json` of whoever runs it, where the registry asks for one;
else the proxy's own accounts count, or nobody's.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entrepot.app.start_error import StartError
from entrepot.auth.accounts import Accounts
from entrepot.auth.credential_helper import CredentialHelper
from entrepot.auth.docker_config import read_docker_config
from entrepot.config.addresses import UpstreamProxy
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.account import NOBODY
from entrepot.protocol.identifiers import Origin, Repository
from entrepot.protocol.messages import Request
from entrepot.upstream.account_auth.challenges import AccountAuth

_CHUNK = 1024 * 1024
_ERROR_BYTES = 64 * 1024
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
"""For the head of an answer: the proxy may wait for a registry, and for a place."""
_SELF = "127.0.0.1"
_OWN = (_SELF, "::1", "localhost")


class PullError(Exception):
    """What was asked for was not given; the text says why, in a line."""


class RegistryClient:
    """Asks registries through a proxy; safe to use from many threads."""

    def __init__(self, client: HttpClient, accounts: Accounts) -> None:
        self._client = client
        self._accounts = accounts
        self._auth = AccountAuth(client, Events(), time.monotonic)

    def get(self, repository: Repository, kind: str, reference: str, accept: str = "*/*") -> Reply:
        """GET a manifest or a blob (``kind``: `manifests` or `blobs`). Raises ``PullError``."""
        origin, path = repository.origin, f"/v2/{repository.name}/{kind}/{reference}"
        account = self._accounts.of(origin, repository.name, _SELF) or NOBODY
        request = Request("GET", origin, path, account=account)
        options = SendOptions(Follow.ANY, downgrade=kind == "blobs", seconds=_ANSWER_SECONDS)
        try:
            reply = self._auth.send(
                request,
                (("Accept", accept), ("Accept-Encoding", "identity")),
                lambda fields: self._client.send("GET", Target(origin, path), fields, options),
            )
            if reply.status != 200:
                with reply:
                    raise PullError(_reason(reply))
        except UpstreamError as error:
            raise PullError(str(error)) from None
        return reply


def read(reply: Reply) -> Iterator[bytes]:
    """The rest of an answer, chunk by chunk. Raises ``PullError`` where it breaks off."""
    try:
        while chunk := reply.read(_CHUNK):
            yield chunk
    except UpstreamError as error:
        raise PullError(str(error)) from None


@contextmanager
def through(proxy: UpstreamProxy, ca: Path | None, docker_config: Path) -> Iterator[RegistryClient]:
    """A client that goes by ``proxy``, whose authority is in ``ca``.

    Without ``ca`` a proxy on this machine is asked for it; that of another is one that the system
    trusts. Raises ``StartError``.
    """
    try:
        accounts = _accounts(docker_config)
    except ValueError as error:
        raise StartError(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="entrepot-") as folder:
        if ca is None and proxy.host in _OWN:
            ca = Path(folder) / "ca.pem"
            ca.write_bytes(_authority(proxy))
        try:
            roots = Roots.find(ca)
        except ValueError as error:
            raise StartError(str(error)) from None
        client = HttpClient(
            roots, proxy=proxy, connect_seconds=_CONNECT_SECONDS, read_seconds=_ANSWER_SECONDS
        )
        try:
            yield RegistryClient(client, accounts)
        finally:
            client.close()


def docker_config_file() -> Path:
    """Where docker keeps the logins of whoever runs this."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _accounts(file: Path) -> Accounts:
    if not file.is_file():
        return Accounts()
    found = read_docker_config(
        file, lambda name, server: CredentialHelper(name, server, Events(), time.monotonic)
    )
    return Accounts((), found.found)


def _authority(proxy: UpstreamProxy) -> bytes:
    """The certificates that the proxy on this machine signs with, as it gives them to clients."""
    origin = Origin.parse(proxy.url)
    client = HttpClient(Roots(None, None), connect_seconds=_CONNECT_SECONDS)
    try:
        options = SendOptions(Follow.NO, seconds=_ANSWER_SECONDS)
        with client.send("GET", Target(origin, "/ca.pem"), (), options) as reply:
            if reply.status == 200:
                return reply.read_all(_ERROR_BYTES)
            raise StartError(f"{proxy.url}/ca.pem: status {reply.status}; is it an Entrepôt?")
    except UpstreamError as error:
        raise StartError(str(error)) from None
    finally:
        client.close()


def _reason(reply: Reply) -> str:
    """What an answer says of itself: its status, and the message of an OCI error."""
    text = ""
    try:
        document = json.loads(reply.read_all(_ERROR_BYTES))
        first = document["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (UpstreamError, ValueError, LookupError, TypeError, AttributeError):
        text = ""
    shown = "".join(filter(str.isprintable, text))[:300]
    return f"status {reply.status}{': ' if shown else ''}{shown}"
