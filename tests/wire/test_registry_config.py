"""`--registry-config`: who ran the registry:2 image starts the cache with the file they have."""

import http.client
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer
from rig.images import ANY_MANIFEST, Image, ImageFactory
from rig.ports import free_port
from rig.process import eventually
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FILE = """
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {root}
  delete:
    enabled: true
http:
  addr: {address}
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
proxy:
  remoteurl: https://registry-1.docker.io
  username: alice
  password: wonderland
  ttl: 168h
"""
UNUSED = "log,storage.cache,storage.delete,http.headers,health,proxy.ttl"


def get(port: int, path: str) -> Answer:
    """What the mirror answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers={"Accept": ANY_MANIFEST})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def pull(port: int, image: Image, name: str) -> None:
    """Pull tag 1, and see that everything is as it was pushed."""
    assert get(port, f"/v2/{name}/manifests/1").body == image.root.body
    for blob in image.blobs:
        assert get(port, f"/v2/{name}/blobs/{blob.digest}").body == blob.read()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def root(folder: Path) -> Path:
    """A folder in which distribution has stored something."""
    root = folder / "registry"
    (root / "docker/registry/v2/repositories/library/redis").mkdir(parents=True)
    root.chmod(0o755)
    return root


@pytest.fixture
def file(folder: Path, root: Path, port: int) -> Path:
    file = folder / "config.yml"
    file.write_text(FILE.format(root=root, address=f"127.0.0.1:{port}"))
    file.chmod(0o600)
    return file


def test_the_articles_file_is_enough(
    start_entrepot: "StartEntrepot",
    file: Path,
    port: int,
    root: Path,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """The mirror, its account and its folder are as the file says; the rest is named in one line.

    The image needs the account. What distribution stored stays as it is, and the proxy by CONNECT
    is there as always.
    """
    image = images.image("switched")
    upstreams.push(image, "registry-1.docker.io/alice/switched:1")
    proxy = start_entrepot(registry_config=str(file), data=None)
    eventually(lambda: " listening " in proxy.log, what="said")
    assert get(port, "/v2/_catalog").body == b'{"repositories":[]}\n'
    pull(port, image, "alice/switched")
    proxy.await_stored(blob.digest for blob in image.blobs)
    mark = upstreams.mark()
    pull(port, image, "alice/switched")
    assert upstreams.requests(mark).blob_gets == ()
    assert proxy.client().get("https://registry-1.docker.io/v2/").status in (200, 401)

    (said,) = (line for line in proxy.log.splitlines() if " registry_config_read " in line)
    assert said.endswith(f"INFO registry_config_read file={file} unused={UNUSED}")
    assert f"data={root}/entrepot " in proxy.log
    assert stat.S_IMODE((root / "entrepot").stat().st_mode) == 0o700
    assert sorted(path.name for path in root.iterdir()) == ["docker", "entrepot"]
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert (root / "docker/registry/v2/repositories/library/redis").is_dir()
    assert "wonderland" not in proxy.log


def test_mitmdump_and_the_containers_variables(
    start_entrepot: "StartEntrepot",
    file: Path,
    port: int,
    folder: Path,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """The environment overrides the file, here its account away; the article's two catalogs."""
    image = images.image("switched by variables")
    upstreams.push(image, "registry-1.docker.io/library/redis:1")
    env = {
        "REGISTRY_PROXY_USERNAME": "",
        "REGISTRY_PROXY_PASSWORD": "",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(folder / "other"),
    }
    proxy = start_entrepot(runner="mitmdump", registry_config=str(file), data=None, env=env)
    eventually(lambda: " listening " in proxy.log, what="said")
    assert get(port, "/v2/_catalog").body == b'{"repositories":[]}\n'
    pull(port, image, "library/redis")
    assert get(port, "/v2/_catalog").body == b'{"repositories":["library/redis"]}\n'
    assert f"data={folder}/other/entrepot " in proxy.log
