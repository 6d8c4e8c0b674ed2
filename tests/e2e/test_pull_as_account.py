"""Real clients pull without a login what an account may read; with one, as themselves."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import Finished, check
from rig.images import ImageFactory
from rig.proxy import Entrepot
from rig.registry import HTPASSWD
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot
    from e2e.conftest import Drivers

TOKENS, BASIC, PART = "registry.example.test", "basic.example.test", "private"
LOGIN = 'username = "alice"\npassword = "wonderland"\n'
ACCOUNTS = f"""
[registry."{TOKENS}".repository."{PART}/"]
{LOGIN}
[registry."{BASIC}"]
{LOGIN}
[registry."docker.io"]
{LOGIN}
"""
PRIVATE = (f"{TOKENS}/{PART}/app:1", f"{BASIC}/private/app:1", "docker.io/private/app:1")
CAN_LOGIN = ("dockerd", "skopeo", "podman")


@pytest.fixture
def entrepot(start_entrepot: "StartEntrepot", folder: Path) -> Entrepot:
    """A proxy with accounts: for a part of one registry, and for two whole ones."""
    file = folder / "accounts.toml"
    file.touch(0o600)
    file.write_text(ACCOUNTS)
    return start_entrepot(config=str(file))


def pull_as(client: RealClient, name: str, account: str, password: str) -> Finished:
    """Pull with a login of the client's own."""
    if isinstance(client, Containerd):
        return client.pull(name, user=f"{account}:{password}")
    assert isinstance(client, Dockerd | Skopeo | Podman)
    check(client.login(name.partition("/")[0], account, password))
    return client.pull(name)


def test_a_client_without_a_login_pulls_as_the_account(
    any_client: RealClient, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Tokens, htpasswd and Docker Hub's shape; a second pull costs no blob.

    Beside a prefix all is as ever: public for anybody, private for who logs in.
    """
    for name in PRIVATE:
        upstreams.push(images.image("private"), name.replace("docker.io", "registry-1.docker.io"))
        check(any_client.pull(name))
        any_client.remove(name)
    mark = upstreams.mark()
    for name in PRIVATE:
        check(any_client.pull(name))
    assert upstreams.requests(mark).blob_bytes == 0
    image = images.image("beside")
    public = upstreams.push(image, f"{TOKENS}/public/app:1")
    private = upstreams.push(image, f"{TOKENS}/{PART}corp/app:1")
    check(any_client.pull(public))
    assert any_client.pull(private).returncode != 0
    check(pull_as(any_client, private, "alice", "wonderland"))


@pytest.mark.parametrize("any_client", CAN_LOGIN, indirect=True)
def test_a_login_of_ones_own_is_what_counts(
    any_client: RealClient, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A wrong one is refused by the registry, and bob gets what bob may have."""
    assert isinstance(any_client, Dockerd | Skopeo | Podman)
    name = upstreams.push(images.image("private"), PRIVATE[0])
    check(any_client.pull(name))
    any_client.remove(name)
    wrong = any_client.login(TOKENS, "alice", "looking-glass")
    assert wrong.returncode != 0, wrong
    refused = pull_as(any_client, name, "bob", "builder")
    assert refused.returncode != 0, refused


def test_a_push_is_not_done_as_the_account(
    skopeo: Skopeo, dockerd: Dockerd, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Without a login nothing is written, whatever the account may."""
    for client in (skopeo, dockerd):
        for name in PRIVATE:
            stored = name.replace("docker.io", "registry-1.docker.io")
            upstreams.push(images.image("private"), stored)
            check(client.pull(name))
            new = name.replace("app:1", "pushed:1")
            if isinstance(client, Dockerd):
                check(client.tag(name, new))
                pushed = client.push(new)
            else:
                pushed = client.push(name, new)
            assert pushed.returncode != 0, pushed


def test_docker_shows_the_proxys_password(
    start_entrepot: "StartEntrepot",
    folder: Path,
    running: ExitStack,
    drivers: "Drivers",
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """`HTTPS_PROXY=http://user:password@proxy` is all that it needs; without, it gets nothing."""
    passwords = folder / "htpasswd"
    passwords.write_text(HTPASSWD)
    proxy = start_entrepot(proxyauth=f"@{passwords}")
    name, route = upstreams.push(images.image("hub"), "hub.example.test/app:1"), proxy.route()
    for url, works in ((proxy.url, False), (proxy.url.replace("//", "//alice:wonderland@"), True)):
        client = Dockerd(
            folder / f"docker-{works}",
            replace(route, proxy_url=url),
            storage_driver=drivers.docker,
        )
        running.callback(client.stop)
        client.start()
        pulled = client.pull(name)
        assert (pulled.returncode == 0) == works, pulled
        assert works or "Proxy Authentication Required" in pulled.stderr
    assert "wonderland" not in proxy.log
