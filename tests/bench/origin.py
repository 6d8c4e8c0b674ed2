"""The upstream that every peer fetches from: registries whose blobs come from a content host.

| name                | what it is                                                              |
| ------------------- | ----------------------------------------------------------------------- |
| hub.bench.test      | open; blobs are redirected (307) to cdn.bench.test                      |
| slow.bench.test     | the same content; its content host sends 30 MB/s on each connection     |
| far.bench.test      | tokens from auth.bench.test, blobs from farcdn.bench.test; all three    |
|                     | are meant to be reached through the relay, 50 ms away                   |
| lazy.bench.test     | the content of the first, 20 ms away, its content host at 30 MB/s on    |
|                     | each connection: both are reached through a relay that paces bytes      |

The names carry a port, so that peers which cannot be told where a name leads (squid, distribution)
need no more than a hosts file.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench.relay import Relay
from rig.certs import Authority
from rig.images import Image, ImageFactory, incompressible
from rig.nginx import Nginx, Site, proxied, stored_files
from rig.ports import free_port
from rig.process import start_all
from rig.record import Requests
from rig.registry import open_registry, token_registry
from rig.tokens import TokenServer

NEAR = ("hub.bench.test", "cdn.bench.test", "slow.bench.test", "slowcdn.bench.test")
LAZY = ("lazy.bench.test", "lazycdn.bench.test")
FAR = ("far.bench.test", "farcdn.bench.test", "auth.bench.test")
REPOSITORY = "library/bench"
SLOW = 30_000_000  # bytes a second on each connection
ROUND_TRIP = 0.05  # seconds
LAZY_ROUND_TRIP = 0.02


@dataclass(frozen=True, slots=True)
class Address:
    """A registry's public name, that of its content host, and the port that both carry."""

    registry: str
    content: str
    port: int

    @property
    def netloc(self) -> str:
        return f"{self.registry}:{self.port}"

    def url(self, path: str, *, plain: bool = False) -> str:
        return f"{'http' if plain else 'https'}://{self.netloc}{path}"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of incompressible bytes in the repository `library/bench`."""

    digest: str
    size: int

    @property
    def path(self) -> str:
        return f"/v2/{REPOSITORY}/blobs/{self.digest}"


class Origin:
    """Two docker-registry processes behind one nginx, and the relay in front of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.far_port, self.lazy_port = free_port(), free_port(), free_port()
        self.near = Address("hub.bench.test", "cdn.bench.test", self.port)
        self.slow = Address("slow.bench.test", "slowcdn.bench.test", self.port)
        self.lazy = Address("lazy.bench.test", "lazycdn.bench.test", self.lazy_port)
        self.distant = Address("far.bench.test", "farcdn.bench.test", self.far_port)
        self.authority = Authority(folder / "ca", "Bench upstream CA")
        self.leaf = self.authority.issue(*NEAR, *FAR, *LAZY, "127.0.0.1")
        self.tokens = TokenServer(folder / "tokens")
        self.hub = open_registry(folder, "hub", redirect_to=f"https://cdn.bench.test:{self.port}")
        self.far = token_registry(
            folder,
            "far",
            self.tokens,
            realm=f"https://auth.bench.test:{self.far_port}/token",
            service="far.bench.test",
            redirect_to=f"https://farcdn.bench.test:{self.far_port}",
        )
        sites = {
            "hub.bench.test": proxied(self.hub.port),
            "cdn.bench.test": stored_files(self.hub.storage),
            "slow.bench.test": _redirecting("slowcdn", self.port) + proxied(self.hub.port),
            "lazy.bench.test": _redirecting("lazycdn", self.lazy_port) + proxied(self.hub.port),
            "lazycdn.bench.test": stored_files(self.hub.storage),
            "slowcdn.bench.test": f"limit_rate {SLOW};" + stored_files(self.hub.storage),
            "far.bench.test": proxied(self.far.port),
            "farcdn.bench.test": stored_files(self.far.storage),
            "auth.bench.test": proxied(self.tokens.port),
        }
        self.nginx = Nginx(
            folder / "nginx",
            [Site(name, self.leaf, body) for name, body in sites.items()],
            tls_port=self.port,
        )
        self.relay = Relay(folder, self.far_port, self.port, ROUND_TRIP)
        self.lazy_relay = Relay(folder, self.lazy_port, self.port, LAZY_ROUND_TRIP, SLOW)
        self.tags: dict[str, str] = {}  # of the open registry: path and digest
        self._images = ImageFactory(folder / "images")

    def start(self) -> None:
        start_all(
            self.nginx.daemon,
            self.hub.daemon,
            self.far.daemon,
            self.relay.daemon,
            self.lazy_relay.daemon,
        )

    def stop(self) -> None:
        self.relay.daemon.kill9()
        self.lazy_relay.daemon.kill9()
        self.nginx.stop()
        self.hub.daemon.kill9()
        self.far.daemon.kill9()
        self.tokens.stop()

    @property
    def resolve(self) -> list[str]:
        """Where the names lead, as `entrepot serve --resolve` takes it."""
        near = [f"{name}:{self.port}:127.0.0.1:{self.port}" for name in NEAR]
        lazy = [f"{name}:{self.lazy_port}:127.0.0.1:{self.lazy_port}" for name in LAZY]
        far = [f"{name}:{self.far_port}:127.0.0.1:{self.far_port}" for name in FAR]
        return near + lazy + far

    def hosts_file(self, path: Path) -> Path:
        """Write a file like /etc/hosts with the names in it."""
        path.write_text(
            "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *NEAR, *FAR, *LAZY))
        )
        return path

    def blob(self, size: int) -> Blob:
        """Put a blob of this size into the open registry, past its upload.

        Its bytes depend on nothing but the size.
        """
        unfinished = self.hub.storage / "unfinished"
        hashed = hashlib.sha256()
        with unfinished.open("wb") as file:
            for chunk in incompressible(f"bench {size}", size):
                hashed.update(chunk)
                file.write(chunk)
        digest = f"sha256:{hashed.hexdigest()}"
        data = self.hub.blob_file(digest)
        data.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(data)
        # What distribution keeps in a repository for each blob that was pushed to it.
        link = self.hub.storage.joinpath(
            "docker/registry/v2/repositories", REPOSITORY, "_layers", *digest.split(":"), "link"
        )
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)
        return Blob(digest, size)

    def image(self, seed: str, total: int, layers: int, *, far: bool = False) -> Image:
        """Push an image of `total` bytes; its tag is the seed."""
        image = self._images.big(seed, total, layers)
        if far:
            self.far.push(image, REPOSITORY, seed)
        else:
            self.hub.push(image, REPOSITORY, seed)
            self.tags[f"/v2/{REPOSITORY}/manifests/{seed}"] = image.digest
        return image

    def mark(self) -> int:
        """Return a position in the record of requests."""
        return self.nginx.mark()

    def requests(self, since: int) -> Requests:
        """Return every request that was answered since `mark`."""
        return self.nginx.requests(since)


def _redirecting(content_host: str, port: int) -> str:
    content = f"https://{content_host}.bench.test:{port}/docker/registry/v2/blobs/sha256"
    return f"""
    location ~ "^/v2/.+/blobs/sha256:(?<hex>(?<two>..)[0-9a-f]+)$" {{
        return 307 {content}/$two/$hex/data;
    }}
    """
