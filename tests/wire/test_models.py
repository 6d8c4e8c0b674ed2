"""Models: what Ollama and other model pullers ask, by every road."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client, basic
from rig.faults import Exchange, FaultServer, Gate, redirect
from rig.images import MIB, Image, incompressible
from rig.models import artifact, ollama_model, tensor_model
from rig.ollama import Killed, Ollama, PullError
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "https://hub.example.test"
TOKENS = "https://registry.example.test"
FAULT = "https://fault.example.test"
AGENT = {"User-Agent": "ollama/0.32.15 (amd64 linux) Go/go1.26.0"}
LASTS = 8
"""Seconds of a token that ends in a test: a pull on a busy machine takes some of them."""


@pytest.fixture(scope="session")
def model(rig_folder: Path) -> Image:
    """A model whose largest layer is fetched in five parts."""
    return ollama_model(rig_folder / "models", "llama", 9 * MIB + 4321)


def puller(client: Client | None, folder: Path, **more: object) -> Ollama:
    made = Ollama(client, folder, least_part=2 * MIB)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def assert_pulled(model: Image, files: dict[str, Path]) -> None:
    assert {digest: file.read_bytes() for digest, file in files.items()} == {
        one.digest: one.read() for one in model.blobs
    }


def test_ollama_pulls_cold_and_warm(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """It is sent to the proxy's own address of the blob, asks there for parts, and gets them.

    Each byte crosses the line once.
    """
    upstreams.push(model, "hub.example.test/library/llama:7b")
    mark = upstreams.mark()
    cold = puller(client, folder / "cold")
    assert_pulled(model, cold.pull(HUB, "library/llama", "7b"))
    assert {url.host for url in cold.told} == {"HUB.EXAMPLE.TEST"}
    largest = model.layers[0]
    parts = [status for _, url, status in cold.requested if url in cold.told]
    assert parts == [206] * len(parts)
    assert sum(largest.digest in url.target for _, url, _ in cold.requested) == 1 + 1 + 5
    assert cold.stalls == 0
    entrepot.await_stored(one.digest for one in model.blobs)
    fetched = sum(one.bytes for one in upstreams.requests(mark) if one.kind == "blob")
    assert fetched <= 1.01 * sum(one.size for one in model.blobs)
    mark = upstreams.mark()
    warm = puller(client, folder / "warm")
    assert_pulled(model, warm.pull(HUB, "library/llama", "7b"))
    assert [one.method for one in upstreams.requests(mark)] == ["HEAD"]
    hits, asked = entrepot.counter("blob_hits"), len(model.blobs)
    where = client.get(f"{HUB}/v2/library/llama/blobs/{largest.digest}", AGENT)
    assert (where.status, where.body) == (307, b"")
    assert where.cache_status == "entrepot; fwd=bypass; detail=address"
    assert entrepot.counter("blob_hits") == hits  # to ask where it is is no pull of it
    assert asked == 4


def test_ollama_pulls_by_a_token(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """The parts show no login: the address stands for the one that was shown for the blob."""
    upstreams.push(model, "registry.example.test/secret/llama:7b")
    login = basic("alice", "wonderland")
    alice = puller(client, folder / "alice", basic=login)
    assert_pulled(model, alice.pull(TOKENS, "secret/llama", "7b"))
    entrepot.await_stored(one.digest for one in model.blobs)
    secret = login.partition(" ")[2]
    assert not any(secret in url.target for url in alice.told)
    largest = next(url for url in alice.told if model.layers[0].digest in url.target)
    part = {"Range": "bytes=5-9"}
    assert client.get(str(largest), part).body == model.layers[0].read()[5:10]
    # An address is one client's, for one blob; without it the same bytes are nobody's.
    stranger = entrepot.client(source="127.0.0.9")
    assert stranger.get(str(largest), part).status == 401
    other = str(largest).replace(model.layers[0].digest, model.layers[1].digest)
    assert client.get(other, part).status == 401
    assert client.get(str(largest).partition("?")[0], part).status == 401
    with pytest.raises(PullError, match="unauthorized"):
        puller(client, folder / "nobody").pull(TOKENS, "secret/llama", "7b")
    assert "entrepot-address" not in entrepot.log


def test_an_address_outlives_its_token(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """Who fetches parts for minutes cannot show a new token, as at a registry's signed address."""
    upstreams.push(model, "registry.example.test/secret/long:7b")
    alice = puller(client, folder / "alice", basic=basic("alice", "wonderland"))
    upstreams.tokens.expires_in = LASTS
    try:
        alice.pull(TOKENS, "secret/long", "7b")
    finally:
        upstreams.tokens.expires_in = 300
    entrepot.await_stored(one.digest for one in model.blobs)
    ends = time.monotonic() + LASTS
    eventually(lambda: time.monotonic() > ends, what="the token has ended")
    mark = upstreams.mark()
    for url in alice.told:
        assert client.get(str(url), {"Range": "bytes=0-0"}).status == 206
    assert upstreams.requests(mark) == ()


def test_a_refusal_ends_an_address(client: Client, faults: FaultServer) -> None:
    """What the registry allowed when it was told counts no more once it refuses the same login."""
    path, content = faults.add_blob("secret", b"weights" * 10_000)
    alice = {"Authorization": basic("alice", "wonderland")}
    allowed = [alice["Authorization"]]

    def answer(exchange: Exchange) -> None:
        if exchange.request.authorization in allowed:
            content(exchange)
        else:
            exchange.send(401, headers={"WWW-Authenticate": 'Basic realm="fault"'})

    faults.routes[path] = answer
    where = f"https:{client.get(FAULT + path, {**AGENT, **alice}).headers['Location']}"
    assert client.get(where, {"Range": "bytes=0-6"}).body == b"weights"
    allowed.clear()
    assert client.get(FAULT + path, {**AGENT, **alice}).status == 401
    assert client.get(where, {"Range": "bytes=0-6"}).status == 401


def test_ollama_goes_on_after_it_was_killed(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """It asks for no size then, but where the blob is, and for what its parts lack.

    Also where the proxy was killed with it.
    """
    upstreams.push(model, "registry.example.test/secret/killed:7b")
    login = basic("alice", "wonderland")
    killed = puller(client, folder / "same", basic=login, die_after=5 * MIB)
    with pytest.raises(Killed):
        killed.pull(TOKENS, "secret/killed", "7b")
    entrepot.kill9()
    entrepot.start()
    again = puller(client, folder / "same", basic=login)
    assert_pulled(model, again.pull(TOKENS, "secret/killed", "7b"))
    assert again.requested[-1][2] == 206
    assert entrepot.counter("blob_misses") <= len(model.blobs)


def test_ollama_pulls_what_its_registry_redirects(
    client: Client, faults: FaultServer, folder: Path
) -> None:
    """By 302, as hf.co does, which Ollama itself does not take; names in upper case, as there."""
    model = ollama_model(folder / "made", "redirected", 3 * MIB)
    bodies = faults.publish(model, "bartowski/Llama-3.2-GGUF", "Q4_K_M")
    for one in model.blobs:
        path = f"/v2/bartowski/Llama-3.2-GGUF/blobs/{one.digest}"
        faults.routes[f"/xet/{one.digest}"] = bodies[one.digest]
        faults.routes[path] = redirect(
            f"https://fault-cdn.example.test/xet/{one.digest}?Expires=1", 302
        )
    direct = puller(client, folder / "pulled")
    assert_pulled(model, direct.pull(FAULT, "bartowski/Llama-3.2-GGUF", "Q4_K_M"))


def test_a_repository_of_models_may_have_upper_case_letters(
    entrepot: Entrepot, client: Client, faults: FaultServer, model: Image, folder: Path
) -> None:
    """Its blobs are cached; another spelling is another repository."""
    faults.publish(model, "TheBloke/Llama", "Q4_K_M")
    puller(client, folder / "one").pull(FAULT, "TheBloke/Llama", "Q4_K_M")
    entrepot.await_stored(one.digest for one in model.blobs)
    url = f"{FAULT}/v2/TheBloke/Llama/blobs/{model.layers[0].digest}"
    assert client.get(url).cache_status == "entrepot; hit"
    assert client.get(url.replace("TheBloke", "thebloke")).status == 404


def test_asking_where_a_blob_is_starts_nothing(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """The registry decides, by the blob's first byte; no fetch begins until a part is asked for."""
    path, _ = faults.add_blob("app", bytes(3 * MIB))
    where = client.get(FAULT + path, AGENT)
    assert where.status == 307
    assert [one.range for one in faults.of(path=path)] == ["bytes=0-0"]
    assert entrepot.counter("blob_misses") == 0
    assert b"running downloads" not in entrepot.local("/healthz").body
    refused = client.get(FAULT + path.replace("/app/", "/other/"), AGENT)
    assert (refused.status, refused.headers["Location"]) == (404, None)


def test_a_part_is_never_answered_by_the_whole(client: Client, faults: FaultServer) -> None:
    """A registry without ranges has its blob kept, and parts cut out of it."""
    body = b"".join(incompressible("no ranges", 2 * MIB))
    path, content = faults.add_blob("app", body)
    content.ranges = False
    where = client.get(FAULT + path, AGENT).headers["Location"]
    part = client.get(f"https:{where}", {"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, body[100:200])


def test_a_model_that_cannot_be_kept_is_no_wrong_part(
    start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """A blob larger than the cache, of a registry that ignores ranges, ends in an error."""
    client = start_entrepot(size="8MiB").client()
    path, content = faults.add_blob("app", bytes(9 * MIB))
    content.ranges = False
    where = client.get(FAULT + path, AGENT).headers["Location"]
    assert client.get(f"https:{where}", {"Range": "bytes=100-199"}).status == 502
    content.ranges = True
    assert client.get(f"https:{where}", {"Range": "bytes=100-199"}).body == bytes(100)


def test_a_model_of_many_tensors_is_sent_once(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, folder: Path
) -> None:
    """Each tensor is asked for whole; to be told where it is costs none of its bytes."""
    model = tensor_model(folder / "made", "tensors", [MIB, 300_000, 70_000])
    upstreams.push(model, "registry.example.test/secret/tensors:1")
    for folder_name in ("cold", "warm"):
        one = puller(client, folder / folder_name, basic=basic("alice", "wonderland"))
        assert_pulled(model, one.pull(TOKENS, "secret/tensors", "1"))
        assert {url.host for url in one.told} == {"REGISTRY.EXAMPLE.TEST"}
        entrepot.await_stored(one.digest for one in model.blobs)
    assert entrepot.counter("blob_misses") == len(model.blobs)


def test_ollama_pulls_from_a_mirror(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """By a name; and by an IPv4 address, which has one spelling: there a 200 has `Location`."""
    port = free_port()
    proxy = start_entrepot(mirror=[f"127.0.0.1:{port}=hub.example.test"])
    upstreams.push(model, "hub.example.test/library/mirrored:7b")
    for number, host in enumerate((f"127.0.0.1:{port}", f"localhost:{port}")):
        one = puller(None, folder / str(number))
        assert_pulled(model, one.pull(f"http://{host}", "library/mirrored", "7b"))
        assert {url.host for url in one.told} == {host.replace("localhost", "LOCALHOST")}
        proxy.await_stored(each.digest for each in model.blobs)


def test_ollama_pulls_over_plain_http(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """A registry without TLS, by the proxy: requests in absolute form."""
    upstreams.push(model, "plain.example.test:5000/library/plain:7b")
    one = puller(client, folder / "one")
    assert_pulled(model, one.pull("http://plain.example.test:5000", "library/plain", "7b"))
    entrepot.await_stored(each.digest for each in model.blobs)
    assert {url.host for url in one.told} == {"PLAIN.EXAMPLE.TEST:5000"}


def test_ollama_pulls_while_its_registry_is_away(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """What it pulled before is served, as to any client."""
    upstreams.push(model, "hub.example.test/library/away:7b")
    puller(client, folder / "one").pull(HUB, "library/away", "7b")
    entrepot.await_stored(each.digest for each in model.blobs)
    with upstreams.down():
        assert_pulled(model, puller(client, folder / "two").pull(HUB, "library/away", "7b"))


def test_an_address_is_anybodys_after_a_restart(
    entrepot: Entrepot, upstreams: Upstreams, model: Image, folder: Path
) -> None:
    """Logins are kept in memory alone; what is public goes on."""
    upstreams.push(model, "registry.example.test/public/again:7b")
    one = puller(entrepot.client(), folder / "one", basic=basic("alice", "wonderland"))
    one.pull(TOKENS, "public/again", "7b")
    entrepot.await_stored(each.digest for each in model.blobs)
    entrepot.restart()
    answer = entrepot.client().get(str(one.told[0]), {"Range": "bytes=0-3"})
    assert answer.status == 401  # as the registry itself answers who shows no token
    assert "scope" in answer.headers["WWW-Authenticate"]


def test_every_layer_of_a_model_is_kept_and_granted(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, folder: Path
) -> None:
    """ModelPack, KitOps, Docker Model Runner: media types nobody knows, annotations of 100 kB."""
    made = [
        artifact(
            folder / "made",
            "modelpack",
            [
                ("application/vnd.cncf.model.weight.v1.raw", 2 * MIB),
                ("application/vnd.cncf.model.doc.v1.tar", 5000),
            ],
            config="application/vnd.cncf.model.config.v1+json",
            artifactType="application/vnd.cncf.model.manifest.v1+json",
            annotations={"org.cncf.model.filepath": "x" * 100_000},
        ),
        artifact(
            folder / "made",
            "kitops",
            [("application/vnd.kitops.modelkit.model.v1.tar+gzip", MIB)],
            config="application/vnd.kitops.modelkit.config.v1+json",
        ),
        artifact(
            folder / "made",
            "docker model runner",
            [
                ("application/vnd.docker.ai.gguf.v3", MIB),
                ("application/vnd.docker.ai.license", 300),
            ],
            config="application/vnd.docker.ai.model.config.v0.1+json",
        ),
    ]
    login = {}
    for number, model in enumerate(made):
        upstreams.push(model, f"registry.example.test/secret/models-{number}:1")
        base = f"{TOKENS}/v2/secret/models-{number}"
        url = f"{base}/manifests/1"
        login = {"Authorization": client.authorization(url, "alice", "wonderland")}
        assert client.manifest(url, login).body == model.root.body
        for one in model.blobs:
            assert client.get(f"{base}/blobs/{one.digest}", login).body == one.read()
        entrepot.await_stored(one.digest for one in model.blobs)
        mark = upstreams.mark()
        for one in model.blobs:  # the manifest's own grant covers what it lists
            assert client.get(f"{base}/blobs/{one.digest}", login).cache_status == "entrepot; hit"
        assert upstreams.requests(mark) == ()


def test_a_part_of_a_cold_model_waits_for_no_other(client: Client, faults: FaultServer) -> None:
    """Each is fetched when it is asked for: so none is without a byte for 30 seconds."""
    body = b"".join(incompressible("sixteen", 16 * MIB))
    path, content = faults.add_blob("app", body)
    first = Gate()

    def answer(exchange: Exchange) -> None:
        gated = (exchange.request.range or "bytes=0-").startswith("bytes=0-")
        whole = exchange.request.range == "bytes=0-0"
        handler = replace(content, gate=first) if gated and not whole else content
        handler(exchange)

    faults.routes[path] = answer
    where = f"https:{client.get(FAULT + path, AGENT).headers['Location']}"
    try:
        with client.open("GET", where, {"Range": f"bytes=0-{MIB - 1}"}) as waiting:
            for number in range(15, 0, -1):
                start, stop = number * MIB, (number + 1) * MIB
                part = client.get(where, {"Range": f"bytes={start}-{stop - 1}"})
                assert (part.status, part.body) == (206, body[start:stop])
            first.open()
            assert waiting.read() == body[:MIB]
    finally:
        first.open()
