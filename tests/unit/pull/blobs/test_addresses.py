"""Addresses of the proxy's own: who is told one, and what it is good for."""

import pytest

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Answer, Request
from entrepot.protocol.routes import Blob
from entrepot.pull.blobs.addresses import PARAMETER
from rig.faults import Content, FaultServer, redirect
from unit.pull.world import ALICE, BLOB, DATA, DIGEST, OTHER_BLOB, Run, World, only, read

OLLAMA = ("User-Agent", "ollama/0.32.15 (amd64 linux) Go/go1.26.0")
HOST = ("Host", "models.example.test:5000")
PART = ("Range", "bytes=0-9")


async def ask(
    world: World, target: str, *fields: tuple[str, str], client: str = "10.1.1.1"
) -> Answer:
    """The answer to a client that asks by a path and a query."""
    path, _, query = target.partition("?")
    origin = Origin("http", "127.0.0.1", world.server.port)
    request = world.cache.settle(Request("GET", origin, path, query, fields, client=client))
    assert not request.query
    name, _, digest = request.path.removeprefix("/v2/").partition("/blobs/")
    return await world.cache.handle(request, Blob(name, Digest.parse(digest)))


async def told(world: World, *fields: tuple[str, str]) -> str:
    """The address that a client is told, without its host."""
    answer = await ask(world, BLOB, OLLAMA, HOST, *fields)
    assert answer.status == 307
    host, slash, target = (answer.value("Location") or "").removeprefix("//").partition("/")
    assert host == "MODELS.EXAMPLE.TEST:5000"
    return slash + target


def test_who_shows_nothing_is_told_anybodys(run: Run) -> None:
    """It takes no place in memory, and holds nothing that could be kept from others."""

    async def scenario(world: World) -> None:
        assert await told(world) == f"{BLOB}?{PARAMETER}=anybody"
        part = await read(await ask(world, f"{BLOB}?{PARAMETER}=anybody", PART))
        assert (part.status, part.body) == (206, DATA[:10])
        # At such an address there is no other to be told.
        whole = await read(await ask(world, f"{BLOB}?{PARAMETER}=x", OLLAMA, HOST))
        assert (whole.status, whole.body) == (200, DATA)

    run(scenario)


@pytest.mark.parametrize(("elsewhere", "seconds"), [(False, 300.0), (True, 1200.0)])
def test_how_long_an_address_is_good_for(
    run: Run, server: FaultServer, *, elsewhere: bool, seconds: float
) -> None:
    """As long as any decision; where the registry redirects, as long as it signs addresses."""
    content = only(Content(DATA, digest=str(DIGEST)), ALICE[1])
    if elsewhere:
        server.routes["/cdn"] = Content(DATA)
        cdn = f"http://localhost:{server.port}/cdn"
        content = only(redirect(cdn), ALICE[1])
    server.routes[BLOB] = content

    async def scenario(world: World) -> None:
        address = await told(world, ALICE)
        assert (await read(await ask(world, address, PART))).body == DATA[:10]
        await world.settled()
        world.now[0] += seconds - 1
        world.seen()
        assert (await read(await ask(world, address, PART))).body == DATA[:10]
        assert world.seen() == []
        world.now[0] += 1
        assert (await read(await ask(world, address, PART))).body == DATA[:10]
        assert world.seen()[0] == ("GET", BLOB, ALICE[1])  # asked again, as who was told it

    run(scenario)


def test_an_address_is_of_one_client_and_one_blob(run: Run, server: FaultServer) -> None:
    private = only(Content(DATA, digest=str(DIGEST)), ALICE[1])
    server.routes |= {BLOB: private, OTHER_BLOB: private}

    async def scenario(world: World) -> None:
        address = await told(world, ALICE)
        assert (await read(await ask(world, address, PART))).status == 206
        await world.settled()
        assert (await ask(world, address, PART, client="10.1.1.2")).status == 401
        assert (await ask(world, f"{address}0", PART)).status == 401
        assert (await ask(world, address.replace("/app/", "/other/"), PART)).status == 401
        assert (await ask(world, address, PART, ("Authorization", "Basic bob"))).status == 401

    run(scenario)


def test_a_range_is_not_answered_by_the_whole(run: Run, server: FaultServer) -> None:
    """Nor is what cannot be kept, of a registry that does not do ranges."""
    server.routes[BLOB] = Content(DATA, digest=str(DIGEST), ranges=False)

    async def scenario(world: World) -> None:
        address = await told(world)
        assert (await ask(world, address, PART)).status == 502
        assert (await ask(world, BLOB, PART)).status == 200

    run(scenario, limit=len(DATA) // 2)


def test_a_query_of_others_is_left_alone(run: Run) -> None:
    """Only a mark of ours is taken off, and only one."""

    async def scenario(world: World) -> None:
        origin = Origin("https", "registry.example.test", 443)
        for query in (f"x={PARAMETER}", f"{PARAMETER}=a&{PARAMETER}=b", "ns=docker.io", ""):
            request = Request("GET", origin, BLOB, query)
            assert world.cache.settle(request) == request
        marked = Request("GET", origin, BLOB, f"ns=docker.io&{PARAMETER}=a")
        assert world.cache.settle(marked).query == "ns=docker.io"

    run(scenario)
