"""What a stranger is told takes nothing away from others, nor what was given them before.

Registries hide what is private: who may not see it is told 404, as if it were not there. Such
answers come to whoever asks, so they are believed for who was told them alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client, basic
from rig.faults import Exchange, FaultServer, Handler, error, status
from rig.images import Image, ImageFactory
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.wire
FAULT = "https://fault.example.test"
ALICE, EVE = basic("alice", "wonderland"), basic("eve", "apple")
INSIDE = "127.0.0.7"
AWAY = status(503, b"", {"Retry-After": "120"})
STALE, UNCONFIRMED = "entrepot; hit; detail=stale", "entrepot; hit; detail=unconfirmed"
LOG_IN = error(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": 'Basic realm="fault"'})
HIDDEN = error(404, "NAME_UNKNOWN", "repository name not known to registry")

Hide = Callable[[Handler], Handler]


def for_alice(handler: Handler, otherwise: Handler = LOG_IN) -> Handler:
    """Let no other login know that it is there; ``otherwise`` is for who shows none."""

    def answer(exchange: Exchange) -> None:
        shown = exchange.request.authorization
        (handler if shown == ALICE else HIDDEN if shown else otherwise)(exchange)

    return answer


def for_no_login(handler: Handler) -> Handler:
    """Let a login that is none of this registry's see nothing."""

    def answer(exchange: Exchange) -> None:
        (HIDDEN if exchange.request.authorization else handler)(exchange)

    return answer


def publish(faults: FaultServer, image: Image, repository: str, hide: Hide) -> None:
    made = faults.publish(image, repository, "1")
    for name in made:
        kind = "manifests" if name in ("1", image.digest) else "blobs"
        path = f"/v2/{repository}/{kind}/{name}"
        faults.routes[path] = hide(faults.routes[path])


def pull(client: Client, image: Image, repository: str, login: str | None = None) -> list[Answer]:
    """The manifest by tag, the same by digest, and all blobs."""
    fields = {"Authorization": login} if login else {}
    base = f"{FAULT}/v2/{repository}"
    return [
        client.manifest(f"{base}/manifests/1", fields),
        client.manifest(f"{base}/manifests/{image.digest}", fields),
        *(client.get(f"{base}/blobs/{blob.digest}", fields) for blob in image.blobs),
    ]


def is_whole(answers: list[Answer], image: Image) -> bool:
    wanted = [image.root.body, image.root.body, *(blob.read() for blob in image.blobs)]
    return [(a.status, a.body) for a in answers] == [(200, body) for body in wanted]


def pry(client: Client, image: Image, repository: str, login: str | None) -> None:
    """Ask for all of it, in every way; it is not there."""
    fields = {"Authorization": login} if login else {}
    for answer in pull(client, image, repository, login):
        assert answer.status in (401, 404)
    for path in ("manifests/1", f"manifests/{image.digest}", f"blobs/{image.layers[0].digest}"):
        assert client.head(f"{FAULT}/v2/{repository}/{path}", fields).status in (401, 404)


def go_away(faults: FaultServer) -> None:
    faults.routes = dict.fromkeys(faults.routes, AWAY)


@pytest.fixture
def started(start_entrepot: "StartEntrepot", folder: Path) -> Entrepot:
    """A proxy that asks as alice for clients of one address."""
    file = folder / "accounts.toml"
    file.touch(0o600)
    where = '[registry."fault.example.test"]\n'
    login = 'username = "alice"\npassword = "wonderland"\n'
    file.write_text(f'{where}clients = ["{INSIDE}"]\n{login}')
    return start_entrepot(config=str(file))


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_an_account_keeps_what_it_was_given(
    started: Entrepot,
    faults: FaultServer,
    images: ImageFactory,
    *,
    restarted: bool,
) -> None:
    """Its clients pull their private image in an outage, whoever was told that it is not there."""
    image = images.image("an account's")
    publish(faults, image, "private/app", for_alice)
    inside, outside = started.client(source=INSIDE), started.client()
    assert is_whole(pull(inside, image, "private/app"), image)
    started.await_stored(blob.digest for blob in image.blobs)
    for login in (EVE, None):
        pry(outside, image, "private/app", login)
    go_away(faults)
    if restarted:
        started.restart()
    answers = pull(started.client(source=INSIDE), image, "private/app")
    assert is_whole(answers, image)
    assert answers[0].cache_status == STALE
    for login in (EVE, None):
        refused = pull(started.client(), image, "private/app", login)
        assert {answer.status for answer in refused} == {503}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_anybody_keeps_what_was_public(
    entrepot: Entrepot,
    faults: FaultServer,
    images: ImageFactory,
    *,
    restarted: bool,
) -> None:
    """A login of a stranger's own that sees nothing there is no word on what anybody may have."""
    image = images.image("anybody's")
    publish(faults, image, "public/app", for_no_login)
    client = entrepot.client()
    assert is_whole(pull(client, image, "public/app"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    tag = f"{FAULT}/v2/public/app/manifests/1"
    assert client.manifest(tag, {"Authorization": EVE}).status == 404
    go_away(faults)
    if restarted:
        entrepot.restart()
    answers = pull(entrepot.client(), image, "public/app")
    assert is_whole(answers, image)
    if restarted:
        assert {answer.cache_status for answer in answers[1:]} == {UNCONFIRMED}


@pytest.mark.parametrize("login", [None, ALICE], ids=["anybody", "a login of one's own"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_was_told_that_a_tag_is_gone_is_not_given_it_in_an_outage(
    entrepot: Entrepot,
    faults: FaultServer,
    images: ImageFactory,
    login: str | None,
    method: str,
) -> None:
    """Promise 5: until upstream says again what it is; a remembered decision does not help."""
    image = images.image("gone")
    made = faults.publish(image, "app", "1")
    client, url = entrepot.client(), f"{FAULT}/v2/app/manifests/1"
    fields = {"Authorization": login} if login else {}
    path = "/v2/app/manifests/1"
    assert client.manifest(url, fields).status == 200
    faults.routes[path] = HIDDEN
    assert client.request(method, url, fields).status == 404
    faults.routes[path] = AWAY
    assert client.manifest(url, fields).status == 503
    faults.routes[path] = made["1"]
    assert client.request(method, url, {"Accept": image.root.media_type, **fields}).status == 200
    faults.routes[path] = AWAY
    assert client.manifest(url, fields).cache_status == STALE


def test_a_tag_that_nobody_was_given_yet_is_gone_for_whom_it_was_told(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 2: a login that may see it makes the tag known, and who was told 404 gets no more."""
    image = images.image("not given yet")
    made = faults.publish(image, "app", "1")
    client, app, path = entrepot.client(), f"{FAULT}/v2/app/manifests", "/v2/app/manifests/1"
    alice = {"Authorization": ALICE}
    assert client.manifest(f"{app}/{image.digest}").status == 200
    faults.routes[path] = for_alice(made["1"], HIDDEN)
    assert client.manifest(f"{app}/1").status == 404
    assert client.manifest(f"{app}/1", alice).status == 200
    faults.routes[path] = AWAY
    assert client.manifest(f"{app}/1").status == 503
    assert client.manifest(f"{app}/1", alice).cache_status == STALE
    faults.routes[path] = made["1"]
    head = {"Accept": image.root.media_type}
    assert client.request("HEAD", f"{app}/1", head).status == 200
    faults.routes[path] = AWAY
    assert client.manifest(f"{app}/1").cache_status == STALE


def test_a_tag_that_an_account_still_has_is_not_given_to_who_was_told_that_it_is_gone(
    started: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 2: where a public image turns private; that others confirmed its tag is theirs."""
    image = images.image("turned")
    inside, outside = started.client(source=INSIDE), started.client()
    tag = f"{FAULT}/v2/app/manifests/1"
    faults.routes["/v2/app/manifests/1"] = for_alice(HIDDEN)
    assert inside.manifest(tag).status == 404  # from now on it shows its login at once
    made = faults.publish(image, "app", "1")
    assert is_whole(pull(outside, image, "app"), image)
    started.await_stored(blob.digest for blob in image.blobs)
    faults.routes["/v2/app/manifests/1"] = for_alice(made["1"], HIDDEN)
    assert outside.manifest(tag).status == 404
    assert is_whole(pull(inside, image, "app"), image)
    go_away(faults)
    for _ in range(2):
        assert is_whole(pull(started.client(source=INSIDE), image, "app"), image)
        assert started.client().manifest(tag).status == 503
        started.restart()


def test_one_that_is_told_that_a_blob_is_gone_loses_that_blob_alone(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 2: by itself, or as what a manifest lists; the rest of the image stays."""
    image = images.image("a blob")
    faults.publish(image, "app", "1")
    client, base = entrepot.client(), f"{FAULT}/v2/app"
    assert is_whole(pull(client, image, "app"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    gone, *others = [f"/v2/app/blobs/{blob.digest}" for blob in image.blobs]
    entrepot.restart()
    faults.routes[gone] = HIDDEN
    client = entrepot.client()
    assert client.get(FAULT + gone).status == 404
    go_away(faults)
    assert client.manifest(f"{base}/manifests/1").cache_status == STALE
    assert client.get(FAULT + gone).status == 503
    assert {client.get(FAULT + path).cache_status for path in others} == {UNCONFIRMED}


def test_a_registry_that_refuses_every_head_of_a_blob_refuses_nobody(
    entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """As public.ecr.aws does: a stranger's HEAD does not end what anybody may have."""
    image = images.image("no HEAD")
    made = faults.publish(image, "app", "1")
    client = entrepot.client()
    assert is_whole(pull(client, image, "app"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    path, content = faults.add_blob("app", b"never pulled")
    content.head_status = 403
    assert client.head(FAULT + path).status == 200  # as a GET of its first byte tells
    faults.routes[path] = error(403, "DENIED", "no")
    assert client.head(FAULT + path).status == 403
    go_away(faults)
    entrepot.restart()
    assert is_whole(pull(entrepot.client(), image, "app"), image)
    assert made
