"""Ways round upstream's decision that must not be there (promise 2)."""

from urllib.parse import urlencode

import pytest

from rig.client import Client, basic
from rig.faults import Exchange, FaultServer, Handler, error
from rig.images import ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

FAULT = "https://fault.example.test"
ALICE = {"Authorization": basic("alice", "wonderland")}
SECRET = b"nobody's but alice's " * 4000


def only_alice(content: Handler) -> Handler:
    """Answer 401 to everybody else."""
    refuse = error(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": 'Basic realm="fault"'})

    def answer(exchange: Exchange) -> None:
        known = exchange.request.authorization == ALICE["Authorization"]
        (content if known else refuse)(exchange)

    return answer


def stored(entrepot: Entrepot) -> None:
    """Wait until a blob is in the store: its last reader may have its end before that."""
    eventually(lambda: "blob_stored digest=" in entrepot.log, what="stored")


@pytest.fixture
def private(entrepot: Entrepot, client: Client, faults: FaultServer) -> str:
    """The path of a blob of alice's that is in the cache."""
    path, content = faults.add_blob("app", SECRET)
    faults.routes[path] = only_alice(content)
    assert client.get(FAULT + path, ALICE).body == SECRET
    stored(entrepot)
    assert "hit" in client.get(FAULT + path, ALICE).cache_status
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/app/", "/%61pp/"),
        ("/app/", "//app/"),
        ("/app/", "/other/../app/"),
        ("sha256:", "sha256%3A"),
        ("sha256:", "SHA256:"),
    ],
)
def test_another_spelling_is_upstreams_to_answer(
    client: Client, faults: FaultServer, private: str, old: str, new: str
) -> None:
    """Promise 2: a path that a registry may read otherwise gets its answer, not what is held."""
    spelt = private.replace(old, new)
    answer = client.get(FAULT + spelt)
    assert (answer.status, SECRET in answer.body) == (404, False)
    assert answer.cache_status == "entrepot; fwd=bypass; detail=other"
    assert faults.of(path=spelt, method="GET", status=404)


@pytest.mark.parametrize("query", ["ns=fault.example.test", "ns=elsewhere.example", "x=1"])
def test_a_query_opens_nothing(client: Client, private: str, query: str) -> None:
    """Promise 2: neither containerd's `ns`, which is opaque, nor any other query is a key."""
    answer = client.get(f"{FAULT}{private}?{query}")
    assert (answer.status, SECRET in answer.body) == (401, False)


@pytest.mark.parametrize(
    "headers", [{"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Cache-Control": "only-if-cached"}]
)
def test_a_condition_opens_nothing(client: Client, private: str, headers: dict[str, str]) -> None:
    """Promise 2: part of a private blob, or word that it is unchanged, needs leave as well."""
    answer = client.get(FAULT + private, headers)
    assert answer.status == 401
    assert SECRET[:10] not in answer.body


def test_a_repository_that_turns_private_is_closed(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 2: once an anonymous request is refused, its repository is public no more."""
    path, content = faults.add_blob("app", SECRET)
    assert client.get(FAULT + path).body == SECRET
    stored(entrepot)
    asked = len(faults.of(path=path))
    assert client.get(FAULT + path).body == SECRET
    assert len(faults.of(path=path)) == asked, "it was not held to be public"
    faults.routes[path] = only_alice(content)
    cold = f"/v2/app/blobs/sha256:{'1' * 64}"
    faults.routes[cold] = only_alice(content)
    assert client.get(FAULT + cold).status == 401
    assert client.get(FAULT + path).status == 401


def test_a_login_by_form_is_not_anonymous(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: containerd posts its password: what that token opens is not public."""
    image, repository = images.image("by-form"), "private/by-form"
    upstreams.push(image, f"registry.example.test/{repository}:1")
    layer = f"https://registry.example.test/v2/{repository}/blobs/{image.layers[0].digest}"
    assert client.get(layer).status == 401  # the proxy has seen whose token server it is
    form = {
        "grant_type": "password",
        "username": "alice",
        "password": "wonderland",
        "service": "registry.example.test",
        "scope": f"repository:{repository}:pull",
    }
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    url = "https://auth.example.test/token"
    answer = client.request("POST", url, kind, urlencode(form).encode())
    alice = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert client.get(layer, alice).body == image.layers[0].read()
    stored(entrepot)
    assert client.get(layer).status == 401


def test_a_token_for_one_repository_opens_no_other(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: a token that upstream accepted for one repository is asked about for the next."""
    image = images.image("scope")
    for name in ("private/mine", "private/theirs"):
        upstreams.push(image, f"registry.example.test/{name}:1")
    base = "https://registry.example.test/v2/private"
    mine, theirs = (f"{base}/{name}/blobs/{image.layers[0].digest}" for name in ("mine", "theirs"))
    for url in (theirs, mine):
        token = {"Authorization": client.authorization(url, "alice", "wonderland")}
        assert client.get(url, token).status == 200
        stored(entrepot)
    assert client.get(theirs, token).status == 401
