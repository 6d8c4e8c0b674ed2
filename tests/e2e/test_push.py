"""Images pushed through the proxy, and what the cache makes of content that changes."""

import json
from collections.abc import Callable

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import Finished, check
from rig.images import Image, ImageFactory
from rig.upstreams import Upstreams

HOST = "registry.example.test"
SOURCE = "hub.example.test/source:1"
LOGIN = "alice:wonderland"


def pull(client: RealClient, name: str) -> Finished:
    """Pull as alice."""
    match client:
        case Dockerd():
            check(client.login(HOST, "alice", "wonderland"))
            return client.pull(name)
        case Containerd():
            return client.pull(name, user=LOGIN)
        case Skopeo():
            return client.pull(name, f"--src-creds={LOGIN}")
        case Podman():
            return client.pull(name, f"--creds={LOGIN}")
        case _:
            raise TypeError(client)


def push(client: RealClient, name: str) -> None:
    """Push what is known as SOURCE under another name, as alice."""
    match client:
        case Dockerd():
            check(client.login(HOST, "alice", "wonderland"))
            check(client.tag(SOURCE, name))
            check(client.push(name))
        case Containerd():
            check(client.tag(SOURCE, name))
            check(client.push(name, user=LOGIN))
        case Skopeo():
            check(client.push(SOURCE, name, f"--dest-creds={LOGIN}"))
        case Podman():
            check(client.tag(SOURCE, name))
            check(client.push(name, f"--creds={LOGIN}"))


def config_of(client: RealClient, name: str) -> str:
    """Return the digest of a pulled image's config: pushing may pack layers anew, not change it."""
    match client:
        case Dockerd():
            return str(client.inspect(name)["Id"])
        case Podman():
            form = "--format={{.Id}}"
            return f"sha256:{check(client.cli.run('image', 'inspect', form, name)).strip()}"
        case Skopeo():
            manifest = json.loads((client.target(name) / "manifest.json").read_bytes())
            return str(manifest["config"]["digest"])
        case Containerd():
            root = check(client.ctr.run("images", "ls", f"name=={name}")).splitlines()[1].split()[2]
            manifest = json.loads(check(client.ctr.run("content", "get", root)))
            return str(manifest["config"]["digest"])
        case _:
            raise TypeError(client)


@pytest.mark.parametrize(
    ("pusher", "puller"),
    [
        ("dockerd", "podman"),
        ("podman", "containerd"),
        ("containerd", "skopeo"),
        ("skopeo", "dockerd"),
    ],
)
def test_what_one_client_pushes_another_pulls(
    request: pytest.FixtureRequest,
    upstreams: Upstreams,
    images: ImageFactory,
    pusher: str,
    puller: str,
) -> None:
    """A push passes as it is, and the first pull of it is a hit: one HEAD, no byte of content."""
    one, other = request.getfixturevalue(pusher), request.getfixturevalue(puller)
    image = images.image(f"pushed by {pusher}")
    upstreams.push(image, SOURCE)
    check(one.pull(SOURCE))
    name, mark = f"{HOST}/alice/{pusher}:1", upstreams.mark()
    push(one, name)
    seen = upstreams.requests(mark)
    assert [put.status for put in seen.of(kind="manifest", method="PUT")] == [201]
    mark = upstreams.mark()
    check(pull(other, name))
    assert config_of(other, name) == image.configs[0].digest
    seen = upstreams.requests(mark)
    assert not seen.of(kind="blob"), seen
    # containerd gets a second token, for which the registry decides anew, by a HEAD too.
    assert not seen.manifest_gets.of(status=200), seen
    tag = f"/v2/alice/{pusher}/manifests/1"
    assert len(seen.manifest_heads.of(status=200, path=tag)) == 1, seen


Mover = Callable[[Image, str], None]


@pytest.fixture(params=["through the proxy", "past the proxy"])
def move(request: pytest.FixtureRequest, skopeo: Skopeo, upstreams: Upstreams) -> Mover:
    """Make a tag point at another image, so that the proxy sees it or does not."""

    def through(image: Image, name: str) -> None:
        upstreams.push(image, SOURCE)
        check(skopeo.pull(SOURCE))
        push(skopeo, name)

    def past(image: Image, name: str) -> None:
        upstreams.push(image, name)

    return through if request.param == "through the proxy" else past


def test_a_moved_tag_is_seen_by_the_next_pull(
    any_client: RealClient, upstreams: Upstreams, images: ImageFactory, move: Mover
) -> None:
    """Promise 5: a tag is never silently stale, whoever moved it and whichever way."""
    name = upstreams.push(images.image("old"), f"{HOST}/alice/moving:1")
    check(pull(any_client, name))
    assert config_of(any_client, name) == images.image("old").configs[0].digest
    move(images.image("new"), name)
    check(pull(any_client, name))
    assert config_of(any_client, name) == images.image("new").configs[0].digest


def test_a_deleted_image_is_gone_from_the_cache(
    skopeo: Skopeo, podman: Podman, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: what upstream no longer has is no longer served, by tag or by digest."""
    # With Basic every pull is the same credential, whose decisions are remembered.
    image = images.image("deleted")
    name = upstreams.push(image, "basic.example.test/deleted:1")
    by_digest = f"basic.example.test/deleted@{image.digest}"
    for one in (name, by_digest):
        check(pull(podman, one))
    podman.remove(name, by_digest)
    check(skopeo.cli.run("delete", f"--creds={LOGIN}", f"docker://{name}"))
    for one in (by_digest, name):
        refused = pull(podman, one)
        assert refused.returncode != 0
        assert "manifest unknown" in refused.stderr
