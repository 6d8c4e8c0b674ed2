"""Private images: who may pull them, and where the passwords are not."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import Finished, check
from rig.images import ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

TOKENS, BASIC = "registry.example.test/private/app:1", "basic.example.test/private/app:1"
ALICE, BOB = ("alice", "wonderland"), ("bob", "builder")
REFUSALS = (
    "unauthorized",
    "authentication required",
    "authorization failed",
    "no basic auth",
    "invalid username/password",
    "access denied",
    "access to the resource is denied",
)
CAN_LOGIN = ("dockerd", "skopeo", "podman")


def login(client: RealClient, name: str, account: str, password: str) -> Finished:
    assert isinstance(client, Dockerd | Skopeo | Podman)
    return client.login(name.partition("/")[0], account, password)


def logout(client: RealClient, name: str) -> Finished:
    assert isinstance(client, Dockerd | Skopeo | Podman)
    return client.logout(name.partition("/")[0])


def pull_as(client: RealClient, name: str, who: tuple[str, str] | None) -> Finished:
    """Pull afresh as somebody or (None) as nobody; ctr has no login, it says who at each pull."""
    client.remove(name)
    if isinstance(client, Containerd):
        return client.pull(name, user=":".join(who) if who else None)
    check(login(client, name, *who) if who else logout(client, name))
    return client.pull(name)


def was_refused(finished: Finished) -> bool:
    """Whether it failed since upstream said no (docker: "access denied ... or no login")."""
    said = (finished.stdout + finished.stderr).lower()
    return finished.returncode != 0 and any(words in said for words in REFUSALS)


@pytest.fixture(params=[TOKENS, BASIC], ids=["tokens", "htpasswd"])
def name(request: pytest.FixtureRequest, upstreams: Upstreams, images: ImageFactory) -> str:
    """A private image in a registry of each kind."""
    return upstreams.push(images.image("private"), request.param)


def by_digest(name: str, images: ImageFactory) -> str:
    """Return the image's other name: a client that knows the digest need not ask for the tag."""
    return f"{name.rpartition(':')[0]}@{images.image('private').digest}"


def ping_hits(entrepot: Entrepot) -> object:
    """How often a registry's challenge was handed out from memory."""
    counters = entrepot.local("/healthz").json()["counters"]
    assert isinstance(counters, dict)
    return counters.get("ping_hits")


def test_a_cached_private_image_is_refused_after_logout(
    any_client: RealClient,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
    name: str,
) -> None:
    """Promise 2: without the login that pulled it, what is cached is not served."""
    anonymous = any_client.pull(name)
    assert was_refused(anonymous), anonymous
    check(pull_as(any_client, name, ALICE))
    mark, challenged = upstreams.mark(), ping_hits(entrepot)
    served = [entrepot.counter(event) for event in ("manifest_hits", "blob_hits")]
    assert was_refused(pull_as(any_client, name, None))
    # docker may still have the manifest itself, and then be refused what that lists.
    assert was_refused(any_client.pull(by_digest(name, images)))
    assert [entrepot.counter(event) for event in ("manifest_hits", "blob_hits")] == served
    # It was upstream who said so; or the client itself, to the challenge that upstream last gave.
    asked = upstreams.requests(mark)
    assert asked.of(status=401) or (asked == () and ping_hits(entrepot) != challenged)


def test_a_private_image_comes_from_the_cache_for_who_logs_in_again(
    any_client: RealClient, upstreams: Upstreams, name: str
) -> None:
    """A login is no reason to fetch a blob twice."""
    check(pull_as(any_client, name, ALICE))
    assert was_refused(pull_as(any_client, name, None))
    mark = upstreams.mark()
    check(pull_as(any_client, name, ALICE))
    assert upstreams.requests(mark).blob_bytes == 0


def test_another_account_does_not_get_a_cached_private_image(
    any_client: RealClient, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: a good password for other repositories opens nothing that is cached."""
    name = upstreams.push(images.image("private"), TOKENS)
    own = upstreams.push(images.image("bob's"), "registry.example.test/bob/app:1")
    check(pull_as(any_client, name, ALICE))
    check(pull_as(any_client, own, BOB))
    for one in (name, by_digest(name, images)):
        assert was_refused(pull_as(any_client, one, BOB))


def test_a_blob_of_a_private_image_is_not_to_be_had_by_its_digest_elsewhere(
    skopeo: Skopeo, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: bytes are shared between repositories, the right to see them is not."""
    image = images.image("private")
    name = upstreams.push(image, TOKENS)
    public = upstreams.push(images.image("public"), "registry.example.test/public/app:1")
    check(pull_as(skopeo, name, ALICE))
    check(pull_as(skopeo, public, None))
    client = entrepot.client()
    url = f"https://registry.example.test/v2/public/app/blobs/{image.layers[0].digest}"
    answer = client.get(url, {"Authorization": client.authorization(url)})
    assert answer.status == 404


@pytest.mark.parametrize("any_client", CAN_LOGIN, indirect=True)
def test_a_wrong_password_does_not_log_in(any_client: RealClient, name: str) -> None:
    """Logging in goes to the registry itself, which refuses a wrong password."""
    assert was_refused(login(any_client, name, "alice", "looking-glass"))


def test_a_wrong_password_does_not_pull_what_is_cached(containerd: Containerd, name: str) -> None:
    """Promise 2: a password that upstream refuses opens nothing that is cached."""
    check(pull_as(containerd, name, ALICE))
    assert was_refused(pull_as(containerd, name, ("alice", "looking-glass")))


def encodings(account: str, password: str) -> Iterator[bytes]:
    """Return a password, and the pair as it stands in Authorization whatever surrounds it."""
    yield password.encode()
    yield base64.b64encode(f"{account}:{password}".encode()).rstrip(b"=")


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def test_no_secret_is_in_the_log_or_on_disk(
    dockerd: Dockerd,
    containerd: Containerd,
    skopeo: Skopeo,
    entrepot: Entrepot,
    upstreams: Upstreams,
    images: ImageFactory,
) -> None:
    """Promise 2: passwords and tokens are used and forgotten, never written anywhere."""
    client = entrepot.client()
    token = client.authorization(
        "https://registry.example.test/v2/private/app/manifests/1", *ALICE
    ).removeprefix("Bearer ")
    jwt_header = token.partition(".")[0].encode()  # every token's beginning
    mark = upstreams.mark()
    for name in (TOKENS, BASIC):
        upstreams.push(images.image("private"), name)
        for who in (ALICE, BOB):
            pull_as(dockerd, name, who)
            pull_as(containerd, name, who)
            pull_as(skopeo, name, who)
    sent = {seen.authorization for seen in upstreams.requests(mark)}
    assert sent >= {"basic", "bearer"}
    secrets = [*encodings(*ALICE), *encodings(*BOB), jwt_header]
    written = [*files_below(entrepot.data), (Path("log"), entrepot.log.encode())]
    assert any(images.image("private").layers[0].read() == content for _, content in written)
    assert [
        (path, secret) for path, content in written for secret in secrets if secret in content
    ] == []
