"""Nobody gets from the cache what upstream would not give them (promise 2)."""

from collections.abc import Iterator
from http.client import HTTPException
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client, basic
from rig.faults import Content, Exchange, FaultServer, Handler, error, redirect, status
from rig.images import OCI_MANIFEST, Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT, OTHER = "https://fault.example.test", "https://other.example.test"
ALICE = {"Authorization": basic("alice", "wonderland")}
BOB = {"Authorization": basic("bob", "builder")}
SECRET = b"only for alice " * 5000


def guarded(content: Handler, *allowed: dict[str, str]) -> Handler:
    """Answer 401 to whoever does not send the header field of one of `allowed`."""

    def answer(exchange: Exchange) -> None:
        sent = exchange.request.headers
        if any(sent.get(k.lower()) == v for one in list(allowed) for k, v in one.items()):
            content(exchange)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="fault"'}
            error(401, "UNAUTHORIZED", "who are you?", challenge)(exchange)

    return answer


def private_blob(server: FaultServer, repository: str, *allowed: dict[str, str]) -> str:
    """Serve SECRET under its digest to `allowed` only; return the path."""
    path, content = server.add_blob(repository, SECRET)
    server.routes[path] = guarded(content, *allowed)
    return path


def pushed(upstreams: Upstreams, image: Image, repository: str) -> tuple[str, str]:
    """Push an image to the registry with tokens; the URLs of its manifest and a layer."""
    upstreams.push(image, f"registry.example.test/{repository}:1")
    base = f"https://registry.example.test/v2/{repository}"
    return f"{base}/manifests/1", f"{base}/blobs/{image.layers[0].digest}"


def as_(client: Client, url: str, *login: str) -> dict[str, str]:
    return {"Authorization": client.authorization(url, *login)}


def told(answer: Answer) -> tuple[int, str | None, bytes]:
    """What a refusal says."""
    return answer.status, answer.headers["WWW-Authenticate"], answer.body


@pytest.fixture
def other(upstreams: Upstreams) -> Iterator[FaultServer]:
    """A second registry."""
    server = FaultServer(upstreams.authority, "other.example.test")
    yield server
    server.stop()


@pytest.fixture
def both(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer, other: FaultServer
) -> Client:
    """A client of a proxy that knows the second registry as well."""
    names = [*upstreams.resolve, *faults.resolve, *other.resolve]
    return start_entrepot(resolve=names).client()


@pytest.mark.parametrize("login", [(), ("bob", "builder")], ids=["nobody", "bob"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_cached_private_content_is_refused_as_upstream_refuses_it(
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    login: tuple[str, ...],
    method: str,
    what: str,
) -> None:
    """Promise 2: who may not have it gets upstream's own refusal, cached or not."""
    manifest, layer = pushed(upstreams, images.image("refused"), "private/refused")
    alice = as_(client, manifest, "alice", "wonderland")
    assert client.manifest(manifest, alice).status == client.get(layer, alice).status == 200
    url = manifest if what == "manifest" else layer
    wrong = as_(client, url, *login) if login else {}
    answer = client.request(method, url, wrong)
    assert answer.status == 401
    assert told(answer) == told(upstreams.client().request(method, url, wrong))


def test_cached_private_content_is_served_to_its_owner(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: another token of somebody who may have it is a hit after upstream agreed."""
    image = images.image("owner")
    manifest, layer = pushed(upstreams, image, "private/owner")
    client.get(layer, as_(client, manifest, "alice", "wonderland"))
    client.await_stored()
    again, mark = as_(client, manifest, "alice", "wonderland"), upstreams.mark()
    answer = client.get(layer, again)
    assert (answer.status, answer.body) == (200, image.layers[0].read())
    assert "hit" in answer.cache_status
    seen = upstreams.requests(mark)
    assert [(one.method, one.status) for one in seen] == [("GET", 206)]


def test_a_decision_is_remembered(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A manifest that upstream allowed allows its blobs too: no further request goes out."""
    image = images.image("remembered")
    manifest, layer = pushed(upstreams, image, "private/remembered")
    client.get(layer, as_(client, manifest, "alice", "wonderland"))
    alice = as_(client, manifest, "alice", "wonderland")
    client.manifest(manifest, alice)
    mark = upstreams.mark()
    for _ in range(3):
        assert client.get(layer, alice).status == 200
    assert upstreams.requests(mark) == ()


def test_a_decision_ends_with_its_token(
    client: Client,
    upstreams: Upstreams,
    images: ImageFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise 2: once a token has ended upstream is asked again, and its refusal counts."""
    manifest, layer = pushed(upstreams, images.image("ends"), "private/ends")
    monkeypatch.setattr(upstreams.tokens, "expires_in", 1)
    alice, mark = as_(client, manifest, "alice", "wonderland"), upstreams.mark()
    client.get(layer, alice)
    gets = len(upstreams.requests(mark).of(kind="blob"))
    for _ in range(2000):
        assert client.get(layer, alice).status == 200
        if len(upstreams.requests(mark).of(kind="blob")) > gets:
            break
    else:
        pytest.fail("upstream was never asked again")


def test_what_an_anonymous_token_was_allowed_is_public(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A repository that anybody may pull is served to a client without a token as well."""
    image = images.image("public")
    manifest, layer = pushed(upstreams, image, "public/may")
    assert client.get(layer, as_(client, manifest)).status == 200
    client.await_stored()
    assert client.get(layer).body == image.layers[0].read()


def test_what_a_login_was_allowed_is_not_public(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: only anonymous tokens make a repository public, whatever its name."""
    manifest, layer = pushed(upstreams, images.image("not-public"), "public/not")
    assert client.get(layer, as_(client, manifest, "alice", "wonderland")).status == 200
    assert client.get(layer).status == 401


def test_a_blob_is_visible_only_where_it_is(
    client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: a cached blob does not exist in a repository that does not have it."""
    one, other = images.image("here"), images.image("there")
    here, layer = pushed(upstreams, one, "private/here")
    there, _ = pushed(upstreams, other, "private/there")
    assert client.get(layer, as_(client, here, "alice", "wonderland")).status == 200
    wrong = layer.replace("private/here", "private/there")
    assert client.get(wrong, as_(client, there, "alice", "wonderland")).status == 404


def test_listing_a_digest_gives_no_access_to_it(client: Client, faults: FaultServer) -> None:
    """Promise 2: an attacker's manifest that lists a private blob does not open it."""
    path = private_blob(faults, "victim/app", ALICE)
    assert client.get(FAULT + path, ALICE).body == SECRET
    digest = path.rpartition("/")[2]
    layer = f'{{"mediaType": "a/b", "digest": "{digest}", "size": {len(SECRET)}}}'
    body = f'{{"schemaVersion": 2, "mediaType": "{OCI_MANIFEST}", "layers": [{layer}]}}'.encode()
    faults.routes["/v2/attacker/app/manifests/1"] = Content(body, OCI_MANIFEST)
    assert client.manifest(f"{FAULT}/v2/attacker/app/manifests/1").body == body
    assert client.get(f"{FAULT}/v2/attacker/app/blobs/{digest}").status == 404
    assert client.get(FAULT + path).status == 401


def test_a_registry_cannot_claim_anothers_private_blob(
    both: Client, faults: FaultServer, other: FaultServer
) -> None:
    """Promise 2: HEAD 200 proves nothing: a registry must have delivered the bytes itself."""
    path = private_blob(faults, "victim/app", ALICE)
    assert both.get(FAULT + path, ALICE).body == SECRET

    def claim(exchange: Exchange) -> None:
        head = exchange.request.method == "HEAD"
        exchange.send(200 if head else 404, b"", {"Content-Length": str(len(SECRET) * head)})

    other.routes[path] = claim
    assert both.head(OTHER + path).status == 200
    answer = both.get(OTHER + path)
    assert (answer.status, answer.body) == (404, b"")


def test_a_registry_that_delivered_a_blob_is_served_it(
    both: Client, faults: FaultServer, other: FaultServer
) -> None:
    """A private blob of one registry is a hit in another once that one sent it, too."""
    path = private_blob(faults, "victim/app", ALICE)
    both.get(FAULT + path, ALICE)
    other.add_blob("victim/app", SECRET)
    assert both.get(OTHER + path).body == SECRET
    both.await_stored(2)
    second = both.get(OTHER + path)
    assert (second.body, "hit" in second.cache_status) == (SECRET, True)
    assert len(other.of(path=path, method="GET")) == 1


def test_public_bytes_are_shared_across_registries(
    both: Client, faults: FaultServer, other: FaultServer
) -> None:
    """A blob that is public somewhere is not downloaded again from another registry."""
    path, _ = faults.add_blob("app", SECRET)
    other.add_blob("app", SECRET)
    both.get(FAULT + path)
    both.await_stored()
    answer = both.get(OTHER + path)
    assert (answer.body, "hit" in answer.cache_status) == (SECRET, True)
    assert [one.range for one in other.of(path=path)] == ["bytes=0-0"]


def test_a_refused_head_is_asked_again_by_get(client: Client, faults: FaultServer) -> None:
    """A registry that refuses every HEAD of a blob (public.ecr.aws) still gives hits."""
    path, content = faults.add_blob("app", SECRET)
    content.head_status = 401
    faults.routes[path] = guarded(content, ALICE, BOB)
    client.get(FAULT + path, ALICE)
    client.await_stored()
    answer = client.get(FAULT + path, BOB)
    assert (answer.body, "hit" in answer.cache_status) == (SECRET, True)
    assert client.get(FAULT + path).status == 401


@pytest.mark.parametrize("name", ["PRIVATE-TOKEN", "Cookie", "X-Api-Key"])
def test_an_unknown_header_is_a_credential(client: Client, faults: FaultServer, name: str) -> None:
    """Promise 2: whatever header says who asks, a decision counts for that value only."""
    path = private_blob(faults, "app", {name: "right"})
    assert client.get(FAULT + path, {name: "right"}).body == SECRET
    assert client.get(FAULT + path, {name: "wrong"}).status == 401
    assert client.get(FAULT + path).status == 401


def test_a_refusal_ends_what_was_allowed(client: Client, faults: FaultServer) -> None:
    """Promise 2: after upstream refused a credential once, nothing more is served to it."""
    allowed = dict(ALICE)
    path = private_blob(faults, "app", allowed)
    assert client.get(FAULT + path, ALICE).status == 200
    asked = len(faults.of(path=path))
    assert client.get(FAULT + path, ALICE).status == 200
    assert len(faults.of(path=path)) == asked, "the decision was not remembered"
    allowed["Authorization"] = "nobody's"
    faults.routes["/v2/app/manifests/1"] = guarded(status(200), allowed)
    assert client.manifest(f"{FAULT}/v2/app/manifests/1", ALICE).status == 401
    assert client.get(FAULT + path, ALICE).status == 401


@pytest.mark.parametrize("how", ["page", "redirect", "redirect elsewhere"])
def test_a_login_page_is_no_leave(
    entrepot: Entrepot, client: Client, faults: FaultServer, how: str
) -> None:
    """Promise 2: behind a single sign-on nobody is refused by a status; nobody gets anything."""
    page = status(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
    faults.routes["/sign_in"] = page
    sent_on = redirect("/sign_in", 302), redirect("https://fault-cdn.example.test/sign_in", 302)
    instead = dict(zip(["page", "redirect", "redirect elsewhere"], [page, *sent_on], strict=True))
    path, content = faults.add_blob("app", SECRET)
    cold, _ = faults.add_blob("app", b"another")

    def sign_on(exchange: Exchange) -> None:
        known = exchange.request.authorization == ALICE["Authorization"]
        (content if known else instead[how])(exchange)

    faults.routes |= {path: sign_on, cold: sign_on}
    assert client.get(FAULT + path, ALICE).body == SECRET
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")
    for url in (path, cold, path):
        for method in ("GET", "HEAD"):
            try:
                answer = client.request(method, FAULT + url)
            except (OSError, HTTPException):
                continue  # the page was cut before its end
            assert "hit" not in answer.cache_status
            assert SECRET not in answer.body
    assert "hit" in client.get(FAULT + path, ALICE).cache_status


def test_a_secret_that_dies_with_the_process_keeps_no_decision(
    entrepot: Entrepot, faults: FaultServer
) -> None:
    """Promise 2: a restart forgets every decision; upstream is asked first."""
    path = private_blob(faults, "app", ALICE)
    entrepot.client().get(FAULT + path, ALICE)
    entrepot.restart()
    faults.routes[path] = guarded(status(200))
    assert entrepot.client().get(FAULT + path, ALICE).status == 401
