"""What clients get while upstream fails: what they may have, at once, and marked as what it is."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client, basic
from rig.faults import Content, FaultServer, error, first, status
from rig.images import Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.road import Road
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT, TOKENS = "https://fault.example.test", "https://registry.example.test"
TAG = f"{FAULT}/v2/app/manifests/1"
STALE = "entrepot; hit; detail=stale"
UNCONFIRMED = "entrepot; hit; detail=unconfirmed"
OFFLINE = "entrepot; hit; detail=offline"
AWAY = status(503, b"", {"Retry-After": "120"})
"""It names a time, so the answer is passed on at once; a bare 503 is asked again for 3.75 s."""


@pytest.fixture
def road(upstreams: Upstreams) -> Iterator[Road]:
    """Leads to every TLS registry."""
    road = Road(upstreams.nginx.tls_port)
    yield road
    road.stop()


@pytest.fixture
def far(start_entrepot: "StartEntrepot", road: Road, upstreams: Upstreams) -> Entrepot:
    """A proxy on that road."""
    return start_entrepot(resolve=road.leading(upstreams.resolve), answer_timeout="3s")


def pull(client: Client, image: Image, base: str, tag: str, *login: str) -> list[Answer]:
    """As docker does: ping, a token if one is wanted, manifest, blobs."""
    host, _, name = base.partition("/v2/")
    ping = client.get(f"{host}/v2/")
    url = f"{base}/manifests/{tag}"
    headers = {}
    if ping.status == 401:
        challenge = ping.headers["WWW-Authenticate"] + f',scope="repository:{name}:pull"'
        headers = {"Authorization": client.answer_to(challenge, *login)}
    manifest = client.manifest(url, headers)
    blobs = [client.get(f"{base}/blobs/{blob.digest}", headers) for blob in image.blobs]
    return [manifest, *blobs]


def is_whole(answers: list[Answer], image: Image) -> bool:
    wanted = [image.root.body, *(blob.read() for blob in image.blobs)]
    return [(a.status, a.body) for a in answers] == [(200, body) for body in wanted]


def upstreams_of(entrepot: Entrepot) -> dict[str, dict[str, object]]:
    """What a monitor sees of upstreams."""
    found: dict[str, dict[str, object]] = json.loads(entrepot.local("/healthz").body)["upstreams"]
    return found


def states(entrepot: Entrepot) -> dict[str, object]:
    """How each upstream does."""
    return {host: one["state"] for host, one in upstreams_of(entrepot).items()}


def asked(entrepot: Entrepot) -> int:
    return entrepot.counter("upstream_requests")


# A tag


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(503, b"", {"Retry-After": "120"}),
        error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit"),
        error(429, "TOOMANYREQUESTS", "wait", {"Retry-After": "120"}),
        lambda exchange: exchange.cut(reset=True),
    ],
    ids=["500", "503", "429", "429 for long", "reset"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_tag_is_what_it_last_was(
    client: Client, faults: FaultServer, images: ImageFactory, trouble: Content, method: str
) -> None:
    """Promise 5: where upstream fails, the last manifest is served and says how old that is."""
    image = images.image("stale")
    faults.publish(image, "app", "1")
    assert client.manifest(TAG).status == 200
    faults.routes["/v2/app/manifests/1"] = trouble
    answer = client.request(method, TAG, {"Accept": "*/*"})
    assert (answer.status, answer.cache_status) == (200, STALE)
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert answer.headers["Warning"].startswith('299 entrepot "the registry does not answer; ')
    assert answer.body == (image.root.body if method == "GET" else b"")
    part = client.request(method, TAG, {"Accept": "*/*", "Range": "bytes=0-"})
    assert (part.status, part.cache_status) == (206 if method == "GET" else 200, STALE)
    assert part.body == answer.body


@pytest.mark.parametrize("code", [400, 401, 403, 404])
def test_a_refusal_is_not_an_outage(
    client: Client, faults: FaultServer, images: ImageFactory, code: int
) -> None:
    """Promise 5: who is refused is never given what was, then or once the registry is away."""
    faults.publish(images.image("refused"), "app", "1")
    assert client.manifest(TAG).status == 200
    faults.routes["/v2/app/manifests/1"] = error(code, "NO", "in upstream's words")
    answer = client.manifest(TAG)
    assert (answer.status, b"in upstream's words" in answer.body) == (code, True)
    if code != 400:
        faults.routes["/v2/app/manifests/1"] = AWAY
        assert client.manifest(TAG).status == 503


def test_a_tag_is_fresh_again_as_soon_as_upstream_answers(
    client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """One failure is not held against a registry that answers the next request."""
    old, new = images.image("before"), images.image("after")
    faults.publish(old, "app", "1")
    client.manifest(TAG)
    faults.routes["/v2/app/manifests/1"] = status(503)
    assert client.manifest(TAG).cache_status == STALE
    faults.publish(new, "app", "1")
    answer = client.manifest(TAG)
    assert (answer.body, answer.headers["Warning"]) == (new.root.body, None)


def test_another_kind_of_client_gets_the_same_manifest(
    client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """What one client's Accept brought is served to another that takes that type as well."""
    image = images.image("accept")
    faults.publish(image, "app", "1")
    client.manifest(TAG)
    faults.routes["/v2/app/manifests/1"] = AWAY
    one = {"Accept": f"application/x-other, {image.root.media_type}"}
    assert client.get(TAG, one).cache_status == STALE
    assert client.get(TAG, {"Accept": "application/x-other"}).status == 503


def test_how_stale_a_tag_may_be_can_be_said(
    start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory
) -> None:
    """With --max-stale 0 a failure of upstream's is told as it came, with its Retry-After."""
    client = start_entrepot(max_stale="0").client()
    image = images.image("never stale")
    faults.publish(image, "app", "1")
    client.manifest(TAG)
    faults.routes["/v2/app/manifests/1"] = error(429, "TOOMANY", "wait", {"Retry-After": "70"})
    answer = client.manifest(TAG)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "70")
    assert b"wait" in answer.body


# Waiting


@pytest.mark.parametrize("known", [True, False], ids=["open connections", "new connections"])
def test_a_black_hole_costs_its_deadline_once(
    far: Entrepot,
    road: Road,
    upstreams: Upstreams,
    images: ImageFactory,
    known: bool,  # noqa: FBT001
) -> None:
    """Where packets are dropped one request finds out; the rest of the pull asks nobody."""
    image, base = images.image("black hole"), "https://hub.example.test/v2/hole"
    upstreams.push(image, "hub.example.test/hole:1")
    assert is_whole(pull(far.client(), image, base, "1"), image)
    far.await_stored(blob.digest for blob in image.blobs)
    if not known:
        far.restart()
        client = far.client()
    client, before = far.client(), asked(far)
    road.freeze()
    for _ in range(3):
        answers = pull(client, image, base, "1")
        assert is_whole(answers, image)
        assert answers[0].cache_status == STALE
    assert asked(far) == before + 1
    assert states(far)["https://hub.example.test"] == "slow"
    road.thaw()


def test_what_is_not_held_fails_at_once_until_it_comes_back(
    entrepot: Entrepot, client: Client, upstreams: Upstreams
) -> None:
    """After three connections that could not be made nobody waits; one line each way."""
    url = "https://hub.example.test/v2/nothing/manifests/{}"
    assert client.manifest(url.format(0)).status == 404  # it is a registry
    with upstreams.down():
        with ThreadPoolExecutor(3) as pool:  # each is tried again for a few seconds
            found = pool.map(lambda n: entrepot.client().manifest(url.format(n)).status, range(3))
            assert list(found) == [502] * 3
        before = asked(entrepot)
        answer = client.manifest(url.format(4))
        assert (answer.status, asked(entrepot)) == (503, before)
        assert answer.headers["Retry-After"] == "10"
        (problem,) = json.loads(answer.body)["errors"]
        assert problem["message"].endswith("it does not answer; asked again soon")
        assert " upstream_away host=https://hub.example.test state=down " in entrepot.log
        assert states(entrepot) == {"https://hub.example.test": "down"}
    back = lambda: client.manifest(url.format(0)).status == 404  # noqa: E731
    eventually(back, what="asked again")
    assert " upstream_back host=https://hub.example.test" in entrepot.log
    assert entrepot.log.count(" upstream_away ") == 1
    assert states(entrepot) == {"https://hub.example.test": "ok"}


def test_a_registry_that_wants_rest_is_left_alone(
    entrepot: Entrepot, client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """Retry-After counts for what is held; what is not is asked for, and gets the 429 itself."""
    faults.publish(images.image("rests"), "app", "1")
    client.manifest(TAG)
    text = "You have reached your pull rate limit."
    limit = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    limited = error(429, "TOOMANYREQUESTS", text, {"Retry-After": "120", **limit})
    faults.routes["/v2/app/manifests/1"] = faults.routes["/v2/app/manifests/2"] = limited
    assert client.manifest(TAG).cache_status == STALE
    before = len(faults.requests)
    assert client.manifest(TAG).cache_status == STALE
    assert len(faults.requests) == before
    cold = client.manifest(f"{FAULT}/v2/app/manifests/2")
    assert (cold.status, text in cold.body.decode()) == (429, True)
    assert cold.headers["Retry-After"] == "120"
    (line,) = (line for line in entrepot.log.splitlines() if " rate_limited " in line)
    assert "host=https://fault.example.test limit=100 window=21600s hint=" in line
    upstream = upstreams_of(entrepot)[FAULT]
    assert upstream["state"] == "resting"
    figures = upstream["ratelimit"]
    assert isinstance(figures, dict)
    del figures["at"]
    assert figures == {"limit": 100, "remaining": 0, "window": 21600, "source": None}


def test_a_limit_of_one_clients_login_is_nobody_elses(
    client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 9: who has used up an account of its own makes nobody's tags stale."""
    faults.publish(images.image("used up"), "app", "1")
    alice, path = {"Authorization": basic("alice", "wonderland")}, "/v2/app/manifests/1"
    content = faults.routes[path]
    for fields in ({}, alice):
        assert client.manifest(TAG, fields).status == 200
    limited = error(429, "TOOMANYREQUESTS", "wait", {"Retry-After": "120"})
    faults.routes[path] = lambda exchange: (limited if exchange.request.authorization else content)(
        exchange
    )
    assert client.manifest(TAG, alice).cache_status == STALE
    assert client.manifest(TAG).cache_status == "entrepot; hit; detail=revalidated"


# Tokens


@pytest.fixture
def public(upstreams: Upstreams, images: ImageFactory) -> tuple[Image, str]:
    """An image that anybody may pull, with a token."""
    image = images.image("anybody's")
    upstreams.push(image, "registry.example.test/public/anybodys:1")
    return image, f"{TOKENS}/v2/public/anybodys"


@pytest.mark.parametrize("restarted", [False, True])
def test_anybody_pulls_what_is_public_without_a_token_server(
    entrepot: Entrepot,
    upstreams: Upstreams,
    public: tuple[Image, str],
    restarted: bool,  # noqa: FBT001
) -> None:
    """While everything is down a client is told to go on, with its login too, and is served."""
    image, base = public
    assert is_whole(pull(entrepot.client(), image, base, "1"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    with upstreams.down():
        if restarted:
            entrepot.restart()
        client = entrepot.client()
        for login in ((), ("bob", "builder")):
            answers = pull(client, image, base, "1", *login)
            assert is_whole(answers, image)
            assert answers[0].cache_status == STALE
        if restarted:
            assert client.get(f"{TOKENS}/v2/").cache_status == OFFLINE
            assert {answer.cache_status for answer in answers[1:]} == {UNCONFIRMED}
            layer, url = image.layers[0], f"{base}/blobs/{image.layers[0].digest}"
            part = client.get(url, {"Range": "bytes=10-19"})
            assert (part.status, part.body) == (206, layer.read()[10:20])
            head = client.head(url)
            assert (head.status, head.headers["Content-Length"]) == (200, str(layer.size))


def test_a_token_server_alone_may_be_down(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, public: tuple[Image, str]
) -> None:
    """Who remembers the challenge asks for a token, and gets one that lets it go on here."""
    image, base = public
    servers = [line for line in upstreams.resolve if line.startswith("auth.example.test:")]
    road = Road(upstreams.nginx.tls_port)
    others = [line for line in upstreams.resolve if line not in servers]
    entrepot = start_entrepot(resolve=[*others, *road.leading(servers)])
    client = entrepot.client()
    assert is_whole(pull(client, image, base, "1"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    road.stop()
    mark = upstreams.mark()
    headers = {"Authorization": client.authorization(f"{base}/manifests/1", "bob", "builder")}
    assert client.manifest(f"{base}/manifests/1", headers).cache_status == STALE
    for blob in image.blobs:
        answer = client.get(f"{base}/blobs/{blob.digest}", headers)
        assert (answer.status, answer.body) == (200, blob.read())
    assert all("authorization" not in str(seen).lower() for seen in upstreams.requests(mark))
    pushed = client.request("POST", f"{base}/blobs/uploads/", headers, b"")
    assert pushed.status == 401  # upstream's word: the token is worth nothing there


# Who


def test_private_content_is_for_whom_upstream_allowed_it(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: a remembered decision counts on; nobody else gets anything."""
    image, base = images.image("for alice"), f"{TOKENS}/v2/private/alices"
    upstreams.push(image, "registry.example.test/private/alices:1")
    url = f"{base}/manifests/1"
    alice = {"Authorization": client.authorization(url, "alice", "wonderland")}
    bob = {"Authorization": client.authorization(url, "bob", "builder")}
    assert client.manifest(url, alice).status == 200
    for blob in image.blobs:
        assert client.get(f"{base}/blobs/{blob.digest}", alice).status == 200
    entrepot.await_stored(blob.digest for blob in image.blobs)
    urls = [url, f"{base}/manifests/{image.digest}", f"{base}/blobs/{image.layers[0].digest}"]
    with upstreams.down():
        for one in urls:
            assert client.manifest(one, alice).status == 200
            for headers in ({}, bob):
                answer = client.manifest(one, headers)
                assert (one, answer.status in (502, 503)) == (one, True)
                assert json.loads(answer.body)["errors"][0]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("networks", "served"),
    [(["127.0.0.0/8"], True), (["10.0.0.0/8", "::1/128"], False)],
    ids=["ours", "others"],
)
def test_private_content_for_chosen_clients(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    networks: list[str],
    served: bool,  # noqa: FBT001
) -> None:
    """--offline-private gives what is stored to these clients while upstream is away."""
    image, base = images.image("chosen"), f"{TOKENS}/v2/private/chosen"
    upstreams.push(image, "registry.example.test/private/chosen:1")
    entrepot = start_entrepot(offline_private=networks)
    assert is_whole(pull(entrepot.client(), image, base, "1", "alice", "wonderland"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    with upstreams.down():
        entrepot.restart()
        client = entrepot.client()
        if served:
            assert is_whole(pull(client, image, base, "1"), image)
        else:
            assert client.manifest(f"{base}/manifests/1").status == 502


def test_what_turned_private_is_not_served_any_more(
    entrepot: Entrepot, client: Client, faults: FaultServer, images: ImageFactory
) -> None:
    """A refusal of anybody ends what was public, for the time when upstream is away too."""
    image = images.image("turned")
    made = faults.publish(image, "app", "1")
    layer = f"{FAULT}/v2/app/blobs/{image.layers[0].digest}"
    assert client.manifest(TAG).status == client.get(layer).status == 200
    client.await_stored()
    refusal = error(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": 'Basic realm="x"'})
    faults.routes["/v2/app/manifests/1"] = refusal
    assert client.manifest(TAG).status == 401
    faults.routes["/v2/app/manifests/1"] = AWAY
    faults.routes[f"/v2/app/blobs/{image.layers[0].digest}"] = AWAY
    assert client.manifest(TAG).status == 503
    assert client.get(layer).status == 503
    faults.routes["/v2/app/manifests/1"] = first(1, made["1"], AWAY)
    assert client.manifest(TAG).status == 200
    assert client.manifest(TAG).cache_status == STALE
    assert "Traceback" not in entrepot.log


# Offline


def test_offline_asks_nobody(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    faults: FaultServer,
    public: tuple[Image, str],
    folder: object,
) -> None:
    """With --offline what was public is served from the folder; nothing goes out."""
    image, base = public
    data = str(folder) + "/data"
    before = start_entrepot(data=data)
    assert is_whole(pull(before.client(), image, base, "1"), image)
    before.await_stored(blob.digest for blob in image.blobs)
    before.terminate()
    entrepot = start_entrepot(data=data, offline=True)
    mark, client = upstreams.mark(), entrepot.client()
    answers = pull(client, image, base, "1")
    assert is_whole(answers, image)
    assert [answer.cache_status for answer in answers] == [STALE, *[UNCONFIRMED] * len(image.blobs)]
    cold = client.manifest(f"{base}/manifests/2")
    assert (cold.status, b"the proxy is offline" in cold.body) == (502, True)
    for method in ("GET", "DELETE", "POST"):
        answer = client.request(method, f"{base}/tags/list")
        assert (answer.status, b"offline" in answer.body) == (503, True)
    assert upstreams.requests(mark) == ()
    assert faults.requests == []
