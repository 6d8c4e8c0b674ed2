"""The registries that the tests pull from, under names that resolve nowhere in DNS.

| name                         | what it is                                                        |
| ---------------------------- | ----------------------------------------------------------------- |
| registry.example.test        | tokens from auth.example.test; anybody pulls public/*, alice all  |
| hub.example.test             | open; blobs are redirected (307) to cdn.example.test              |
| moved.example.test           | manifests redirected (307, relative) to images/*, blobs (307) to  |
|                              | target.example.test                                               |
| basic.example.test           | htpasswd: alice/wonderland, bob/builder                           |
| ports.example.test:5443      | open, on another port                                             |
| plain.example.test:5000      | open, plain HTTP                                                  |
| registry-1.docker.io         | Docker Hub's shape: auth.docker.io, blobs from its CDN host       |
| plainweb.example.test        | no registry; a private CA of its own (`web_authority`)            |

ports, plain, moved and target share one store. The CDN hosts answer 400 to any Authorization.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.certs import Authority
from rig.client import DirectClient
from rig.images import Image
from rig.nginx import Nginx, Site, proxied, stored_files
from rig.process import start_all
from rig.record import Requests
from rig.registry import Registry, htpasswd_registry, open_registry, token_registry
from rig.tokens import TokenServer

WEB_BODY = b"no registry lives here\n"


@dataclass(frozen=True, slots=True)
class Host:
    """A registry's public name; `registry` holds its content, below `prefix`."""

    name: str
    registry: Registry
    port: int = 443
    prefix: str = ""

    @property
    def netloc(self) -> str:
        return self.name if self.port == 443 else f"{self.name}:{self.port}"


class Upstreams:
    """All of them; `start` takes well under a second."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca")
        self.web_authority = Authority(folder / "web-ca", "Somebody's private CA")
        self.tokens = TokenServer(folder / "tokens")
        opened = open_registry(folder, "open")
        token = token_registry(
            folder,
            "token",
            self.tokens,
            realm="https://auth.example.test/token",
            service="registry.example.test",
        )
        hub = open_registry(folder, "hub", redirect_to="https://cdn.example.test")
        docker_hub = token_registry(
            folder,
            "docker-hub",
            self.tokens,
            realm="https://auth.docker.io/token",
            service="registry.docker.io",
            redirect_to="https://production.cloudflare.docker.com",
        )
        basic = htpasswd_registry(folder, "basic")
        self._registries = (opened, token, hub, docker_hub, basic)
        self.hosts = {
            host.netloc: host
            for host in (
                Host("registry.example.test", token),
                Host("hub.example.test", hub),
                Host("moved.example.test", opened, prefix="images/"),
                Host("target.example.test", opened),
                Host("basic.example.test", basic),
                Host("ports.example.test", opened, 5443),
                Host("plain.example.test", opened, 5000),
                Host("registry-1.docker.io", docker_hub),
            )
        }
        self.nginx = Nginx(
            folder / "nginx",
            [
                self._tls("registry.example.test", proxied(token.port)),
                self._tls("auth.example.test", proxied(self.tokens.port)),
                self._tls("hub.example.test", proxied(hub.port)),
                self._tls("cdn.example.test", stored_files(hub.storage)),
                self._tls("moved.example.test", _moved(opened.port)),
                self._tls("target.example.test", proxied(opened.port)),
                self._tls("basic.example.test", proxied(basic.port)),
                self._tls("ports.example.test", proxied(opened.port)),
                Site("plain.example.test", None, proxied(opened.port)),
                self._tls("registry-1.docker.io", proxied(docker_hub.port)),
                self._tls("auth.docker.io", proxied(self.tokens.port)),
                self._tls("production.cloudflare.docker.com", stored_files(docker_hub.storage)),
                Site(
                    "plainweb.example.test",
                    self.web_authority.issue("plainweb.example.test"),
                    _web(),
                ),
            ],
        )

    def start(self) -> None:
        start_all(self.nginx.daemon, *(registry.daemon for registry in self._registries))

    def stop(self) -> None:
        self.nginx.stop()
        for registry in self._registries:
            registry.daemon.kill9()
        self.tokens.stop()

    @property
    def resolve(self) -> list[str]:
        """Where the names lead: HOST:PORT:ADDRESS:PORT, as `entrepot serve --resolve` takes it."""
        tls = f"127.0.0.1:{self.nginx.tls_port}"
        names = [
            "registry.example.test:443",
            "auth.example.test:443",
            "hub.example.test:443",
            "cdn.example.test:443",
            "moved.example.test:443",
            "target.example.test:443",
            "basic.example.test:443",
            "ports.example.test:5443",
            "registry-1.docker.io:443",
            "auth.docker.io:443",
            "production.cloudflare.docker.com:443",
            "plainweb.example.test:443",
        ]
        plain = f"plain.example.test:5000:127.0.0.1:{self.nginx.plain_port}"
        return [*(f"{name}:{tls}" for name in names), plain]

    def host(self, netloc: str) -> Host:
        return self.hosts[netloc]

    def push(self, image: Image, name: str) -> str:
        """Store an image under `HOST[:PORT]/REPOSITORY:TAG`, unrecorded; return that name."""
        netloc, _, rest = name.partition("/")
        repository, _, tag = rest.rpartition(":")
        host = self.hosts[netloc]
        host.registry.push(image, host.prefix + repository, tag)
        return name

    def client(self) -> DirectClient:
        """Return a client without a proxy, to see what the (https) upstreams themselves answer."""
        return DirectClient(self.nginx.tls_port, self.authority.client_context())

    def mark(self) -> int:
        """Return a position in the record of requests."""
        return self.nginx.mark()

    def requests(self, since: int = 0) -> Requests:
        """Return every request that was answered since `mark`, from all hosts."""
        return self.nginx.requests(since)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections to every host while the block runs."""
        with self.nginx.down():
            yield

    def _tls(self, name: str, body: str) -> Site:
        return Site(name, self.authority.issue(name), body)


def _moved(port: int) -> str:
    return rf"""
    location ~ ^/v2/(?!images/)(.+)/manifests/([^/]+)$ {{
        return 307 /v2/images/$1/manifests/$2;
    }}
    location ~ ^/v2/(?!images/)(.+)/blobs/(sha256:[0-9a-f]+)$ {{
        return 307 https://target.example.test/v2/images/$1/blobs/$2;
    }}
    {proxied(port)}
    """


def _web() -> str:
    return f"""
    location = /v2/ {{ default_type application/json; return 200 "{{}}"; }}
    location / {{ default_type text/plain; return 200 "{WEB_BODY.decode().rstrip()}\n"; }}
    """
