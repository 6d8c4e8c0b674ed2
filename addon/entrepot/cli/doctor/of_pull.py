"""A pull through the running proxy, as a container engine makes it, of the least of an image.

The manifest by its tag, that of one platform, and the image's configuration; the configuration
twice, since the second answer shows whether the first was kept.
"""

import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from entrepot.cli.doctor.finding import Finding, ok, problem, warning
from entrepot.cli.doctor.of_proxy import reached_at
from entrepot.config.settings import Config
from entrepot.control.documents import Document
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.account import NOBODY
from entrepot.protocol.cache_status import FIELD
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.image_names import ImageName
from entrepot.protocol.messages import Request, field_values
from entrepot.protocol.quirks import registry_at
from entrepot.upstream.account_auth.challenges import AccountAuth

_ABOUT = "pull"
_LARGEST = 8 * 2**20
_SECONDS = 60.0
_PATIENCE_SECONDS = 5.0
_ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)


class _PullError(Exception):
    """It did not go; the text says which step, and why."""


def check_pull(config: Config, live: Document, image: str) -> Iterator[Finding]:
    """Pull so much of an image, and say whether the cache kept it."""
    try:
        name = ImageName.parse(image.removesuffix("/"))
        origin = registry_at(Origin.parse(f"https://{name.registry}"))
        roots = Roots.find(config.data / "ca/mitmproxy-ca.pem")
    except (OSError, ValueError) as error:
        yield problem(_ABOUT, str(error), "name one image that there is: --image redis:7")
        return
    client = HttpClient(roots, proxy=reached_at(config, live), read_seconds=_SECONDS)
    with closing(client):
        try:
            yield _Puller(client, origin, name.path).pull(str(name.reference or "latest"))
        except (_PullError, UpstreamError) as error:
            fix = "see `entrepot log -n 5`; a private image needs a login, which this has none of"
            yield problem(_ABOUT, f"{image}: {error}", fix)


class _Puller:
    """Asks for one repository through the proxy, anonymously."""

    def __init__(self, client: HttpClient, origin: Origin, repository: str) -> None:
        self._client = client
        self._origin = origin
        self._repository = repository
        self._auth = AccountAuth(client, Events(), time.monotonic)

    def pull(self, reference: str) -> Finding:
        """Raises ``_PullError`` and ``UpstreamError``."""
        began = time.monotonic()
        manifest = self._manifest(reference)
        if "manifests" in manifest:
            manifest = self._manifest(str(manifest["manifests"][0]["digest"]))
        digest = str(manifest["config"]["digest"])
        self._get(f"blobs/{digest}")
        seconds = time.monotonic() - began
        said = f"{self._repository}:{reference} came through it in {seconds * 1000:.0f} ms"
        if self._is_hit(f"blobs/{digest}"):
            return ok(_ABOUT, f"{said}, and again from the cache")
        fix = "see `entrepot log -n 5`, and `entrepot status` for the disk"
        return warning(_ABOUT, f"{said}, and was not kept", fix)

    def _manifest(self, reference: str) -> dict[str, Any]:
        _, body = self._get(f"manifests/{reference}")
        with suppress(ValueError):
            document: dict[str, Any] = json.loads(body)
            if isinstance(document.get("manifests") or document.get("config"), list | dict):
                return document
        raise _PullError(f"its manifest {reference} is none of an image")

    def _is_hit(self, what: str) -> bool:
        """Whether it is answered from the cache, as soon as it is kept."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            status, _ = self._get(what)
            if "hit" in status:
                return True
            time.sleep(0.2)
        return False

    def _get(self, what: str) -> tuple[str, bytes]:
        """What ``Cache-Status`` says, and the body."""
        path = f"/v2/{self._repository}/{what}"
        request = Request("GET", self._origin, path, account=NOBODY)
        options = SendOptions(Follow.ANY, downgrade=True, seconds=_SECONDS)
        target = Target(self._origin, path)

        def send(fields: Any) -> Reply:
            return self._client.send("GET", target, fields, options)

        with self._auth.send(request, (("Accept", _ACCEPT),), send) as reply:
            if reply.status != 200:
                raise _PullError(f"{what} is answered with {reply.status}")
            said = ", ".join(field_values(reply.headers, FIELD))
            return said, reply.read_all(_LARGEST)
