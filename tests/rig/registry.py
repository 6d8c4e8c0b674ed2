"""Debian's docker-registry (CNCF distribution 2.8) on a plain loopback port."""

import base64
import http.client
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from rig.images import ANY_MANIFEST, Image
from rig.ports import free_port
from rig.process import Daemon, RigError, accepts, clean_environment, program
from rig.tokens import ISSUER, TokenServer

HTPASSWD = (
    # bcrypt of "wonderland" and "builder" at the lowest cost: distribution takes nothing else.
    "alice:$2y$04$xtXMhAssmvyHiRdE1wSI1OT8dwEf9wyLB50WsWtrDOSHaWwRV0TKO\n"
    "bob:$2y$04$I41F0dkAXGv4lQJxNZZ2VeBsf9COYr8V8lJqEzY6cfW6gxzKEa65K\n"
)
Authorize = Callable[[str], str | None]


def nobody(_repository: str) -> str | None:
    """Return no Authorization header."""
    return None


class Registry:
    """One docker-registry with a storage folder of its own.

    `auth` is the `auth:` section of its configuration, `redirect_to` the base URL that blob
    requests are sent to (the storage path is appended), `authorize` gives the Authorization header
    that the rig's own pushes to a repository carry.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        auth: Mapping[str, object] | None = None,
        redirect_to: str | None = None,
        authorize: Authorize = nobody,
    ) -> None:
        home = folder / name
        self.storage = home / "storage"
        self.storage.mkdir(parents=True)
        self.port = free_port()
        self._authorize = authorize
        config = home / "config.yml"
        config.write_text(json.dumps(self._config(auth, redirect_to)))
        self.daemon = Daemon(
            f"docker-registry-{name}",
            [program("docker-registry"), "serve", config],
            log=home / "log",
            env=clean_environment(home, OTEL_TRACES_EXPORTER="none"),
            ready=lambda: accepts(self.port),
            reported=False,  # each 404 is an "error" in its log; nginx keeps the record
        )

    def _config(
        self, auth: Mapping[str, object] | None, redirect_to: str | None
    ) -> dict[str, object]:
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "rig"},
        }
        if auth:
            config["auth"] = auth
        if redirect_to:
            redirect = {"name": "redirect", "options": {"baseurl": redirect_to}}
            config["middleware"] = {"storage": [redirect]}
        return config

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Store an image under a tag, past nginx: it leaves no trace in the record."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self._push(connection, image, repository, tag)
        finally:
            connection.close()

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Forget a manifest and the tags that point at it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            path = f"/v2/{repository}/manifests/{digest}"
            self._ask(connection, "DELETE", path, repository, want=(202,))
        finally:
            connection.close()

    def blob_file(self, digest: str) -> Path:
        """Return the file that holds a blob; a test may damage or remove it."""
        algorithm, _, value = digest.partition(":")
        return self.storage.joinpath(
            "docker/registry/v2/blobs", algorithm, value[:2], value, "data"
        )

    def _push(
        self, connection: http.client.HTTPConnection, image: Image, repository: str, tag: str
    ) -> None:
        for blob in image.blobs:
            if self._has(connection, repository, blob.digest):
                continue
            uploads = f"/v2/{repository}/blobs/uploads/"
            started = self._ask(connection, "POST", uploads, repository, want=(202,))
            place = urlsplit(started["Location"])
            with blob.path.open("rb") as content:
                self._ask(
                    connection,
                    "PUT",
                    f"{place.path}?{place.query}&digest={blob.digest}",
                    repository,
                    want=(201,),
                    body=content,
                    headers={
                        "Content-Type": "application/octet-stream",
                        "Content-Length": str(blob.size),
                    },
                )
        for manifest in image.manifests:
            reference = tag if manifest is image.root else manifest.digest
            path = f"/v2/{repository}/manifests/{reference}"
            headers = {"Content-Type": manifest.media_type}
            self._ask(
                connection,
                "PUT",
                path,
                repository,
                want=(201,),
                body=manifest.body,
                headers=headers,
            )

    def _has(self, connection: http.client.HTTPConnection, repository: str, digest: str) -> bool:
        path = f"/v2/{repository}/blobs/{digest}"
        answer = self._ask(connection, "HEAD", path, repository, want=(200, 307, 404))
        return answer["status"] != "404"

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        repository: str,
        *,
        want: tuple[int, ...],
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        sent = {"Accept": ANY_MANIFEST, **(headers or {})}
        if authorization := self._authorize(repository):
            sent["Authorization"] = authorization
        connection.blocksize = 1 << 20
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        content = response.read()
        if response.status not in want:
            raise RigError(f"{method} {path}: got {response.status} {content!r}, want {want}")
        return {**dict(response.getheaders()), "status": str(response.status)}


def open_registry(folder: Path, name: str, *, redirect_to: str | None = None) -> Registry:
    """Return a registry that serves anybody."""
    return Registry(folder, name, redirect_to=redirect_to)


def htpasswd_registry(folder: Path, name: str) -> Registry:
    """Return a registry with Basic authentication: alice/wonderland and bob/builder."""
    passwords = folder / f"{name}.htpasswd"
    passwords.write_text(HTPASSWD)
    basic = "Basic " + base64.b64encode(b"alice:wonderland").decode()
    return Registry(
        folder,
        name,
        auth={"htpasswd": {"realm": "rig", "path": str(passwords)}},
        authorize=lambda _repository: basic,
    )


def token_registry(
    folder: Path,
    name: str,
    tokens: TokenServer,
    *,
    realm: str,
    service: str,
    redirect_to: str | None = None,
) -> Registry:
    """Return a registry with token authentication; clients are sent to `realm` for tokens."""

    def authorize(repository: str) -> str:
        scope = f"repository:{repository}:pull,push,delete"
        return f"Bearer {tokens.mint('alice', service, [scope])}"

    auth = {
        "token": {
            "realm": realm,
            "service": service,
            "issuer": ISSUER,
            "rootcertbundle": str(tokens.bundle),
        }
    }
    return Registry(folder, name, auth=auth, redirect_to=redirect_to, authorize=authorize)
