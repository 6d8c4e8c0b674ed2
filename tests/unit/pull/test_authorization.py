"""Who may have a cached blob or manifest: upstream decides, and what it said is remembered."""

import asyncio
import threading

import pytest

from entrepot.protocol.identifiers import Digest, Origin, Repository
from rig.faults import Content, Exchange, FaultServer, Gate, redirect, status
from unit.pull.world import (
    ALICE,
    BLOB,
    BOB,
    BY_DIGEST,
    CHALLENGE,
    DATA,
    DIGEST,
    MANIFEST,
    MANIFEST_DIGEST,
    TAG,
    TYPE,
    Run,
    World,
    changed,
    only,
    read,
)


def test_a_remembered_decision_ends(run: Run) -> None:
    """After its time a hit costs one question, for a single byte."""

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        world.seen()
        world.now[0] += 59
        assert (await world.get(BLOB, ALICE)).how == "hit"
        assert world.seen() == []
        world.now[0] += 1
        assert (await world.get(BLOB, ALICE)).how == "hit"
        asked = [request.range for request in world.server.requests]
        assert world.seen() == [("GET", BLOB, ALICE[1])]
        assert asked == ["bytes=0-0"]

    run(scenario)


def test_a_private_blob_is_given_to_who_upstream_allows(run: Run, server: FaultServer) -> None:
    """Bob and the nameless get upstream's own challenge, Alice the blob."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        for fields in ((), (BOB,)):
            got = await world.get(BLOB, *fields)
            assert got.status == 401
            assert got.headers["www-authenticate"] == CHALLENGE["WWW-Authenticate"]
            assert b"UNAUTHORIZED" in got.body
        assert (await world.get(BLOB, ALICE)).how == "hit"

    run(scenario)


def test_a_private_manifest_is_given_to_who_upstream_allows(run: Run, server: FaultServer) -> None:
    """By digest and by tag."""
    server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (TAG, BY_DIGEST)}

    async def scenario(world: World) -> None:
        for path in (TAG, BY_DIGEST):
            assert (await world.get(path, ALICE)).body == MANIFEST
            for fields in ((), (BOB,)):
                got = await world.get(path, *fields)
                assert (got.status, got.headers["www-authenticate"]) == (
                    401,
                    'Basic realm="registry"',
                )

    run(scenario)


def test_a_second_named_client_costs_a_question(run: Run, server: FaultServer) -> None:
    """Upstream decides for Bob; the bytes come from here."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1], BOB[1])

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, BOB)).how == "hit"
        assert world.seen() == [("GET", BLOB, BOB[1])]

    run(scenario)


def test_a_denial_is_no_memory_of_an_allowance(run: Run, server: FaultServer) -> None:
    """When the decision has ended and upstream says no, the hit is over."""

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        server.routes[BLOB] = only(server.routes[BLOB])
        world.now[0] += 60
        assert (await world.get(BLOB, ALICE)).status == 401

    run(scenario)


@pytest.mark.parametrize("code", [400, 401, 403, 405])
def test_a_wrong_answer_to_head_is_no_refusal(run: Run, server: FaultServer, code: int) -> None:
    """public.ecr.aws refuses every HEAD of a blob; what its GET says counts."""

    async def scenario(world: World) -> None:
        for path, content in ((BLOB, DATA), (BY_DIGEST, MANIFEST)):
            await world.get(path, ALICE)
            await world.settled()
            server.routes[path] = Content(content, head_status=code)
            got = await world.get(path, BOB)
            assert (got.status, got.body) == (200, content)
            assert (await world.get(path, BOB, method="HEAD")).how == "hit"

    run(scenario)


def test_decisions_share_a_connection(run: Run, server: FaultServer) -> None:
    """What a GET sends beside its word is read: each decision but the first needs no handshake."""
    ports: list[int] = []

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        content = Content(DATA, head_status=401)

        def noted(exchange: Exchange) -> None:
            ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
            content(exchange)

        server.routes[BLOB] = noted
        for name in ("bob", "carol", "dave"):
            got = await world.get(BLOB, ("Authorization", f"Basic {name}"))
            assert got.how == "hit"
            for thread in threading.enumerate():  # nobody but this test waits for the rest
                if thread.name == "let_go":
                    thread.join()

    run(scenario)
    assert (len(ports), len(set(ports))) == (3, 1)


def test_a_redirect_within_the_registry_decides_nothing(run: Run, server: FaultServer) -> None:
    """A registry may move a path for everybody and ask for credentials at its end."""
    server.routes[BLOB] = redirect("/v2/moved/blob")
    server.routes["/v2/moved/blob"] = only(Content(DATA), ALICE[1])

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        for fields in ((), (BOB,)):
            got = await world.get(BLOB, *fields)
            assert (got.status, got.body == DATA) == (401, False)

    run(scenario)


def test_a_content_network_shows_a_blob_by_its_length(run: Run, server: FaultServer) -> None:
    """Redirects are followed, without credentials, for one byte; the registry is asked once."""
    away = redirect(f"http://localhost:{server.port}/cdn")
    server.routes[BLOB] = only(away, ALICE[1], BOB[1])
    server.routes["/cdn"] = Content(DATA)

    async def scenario(world: World) -> None:
        assert (await world.get(BLOB, ALICE)).body == DATA
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, BOB)).how == "hit"
        assert [request.range for request in world.server.requests] == ["bytes=0-0"] * 2
        assert world.seen() == [("GET", BLOB, BOB[1]), ("GET", "/cdn", None)]
        assert (await world.get(BLOB)).status == 401

    run(scenario)


def test_an_answer_of_another_digest_allows_nothing(run: Run, server: FaultServer) -> None:
    """A length may be the same by chance; a digest that differs is a word against it."""
    other = bytes(len(DATA))

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        server.routes[BLOB] = Content(other, digest=str(Digest.of(other)))
        got = await world.get(BLOB, BOB)
        assert (got.body == DATA, got.whole) == (False, False)

    run(scenario)


def test_another_algorithm_says_nothing_against_it(run: Run, server: FaultServer) -> None:
    """Distribution names a blob by its sha256 whatever digest it was asked for by."""
    digest = Digest.of(DATA, "sha512")
    path = f"/v2/app/blobs/{digest}"
    server.routes[path] = Content(DATA, digest=str(DIGEST))

    async def scenario(world: World) -> None:
        assert (await world.get(path, ALICE)).body == DATA
        await world.settled()
        assert (await world.get(path, BOB)).how == "hit"

    run(scenario)


@pytest.mark.parametrize("ranges", [False, True])
def test_an_empty_blob_has_no_first_byte(run: Run, server: FaultServer, *, ranges: bool) -> None:
    """Whether a registry then answers 416 or sends the nothing that there is."""
    path = f"/v2/app/blobs/{Digest.of(b'')}"
    unsatisfiable = status(416, headers={"Content-Range": "bytes */0"})

    def empty(exchange: Exchange) -> None:
        refused = ranges and exchange.request.range is not None
        (unsatisfiable if refused else Content(b""))(exchange)

    server.routes[path] = empty

    async def scenario(world: World) -> None:
        assert (await world.get(path, ALICE)).status == 200
        await world.settled()
        assert (await world.get(path, BOB)).how == "hit"

    run(scenario)


def test_a_registry_that_only_claims_to_have_a_blob_gets_no_bytes(
    run: Run, server: FaultServer
) -> None:
    """Whoever answers HEAD with 200 must send the bytes itself."""
    server.routes[BLOB] = only(server.routes[BLOB], ALICE[1])
    claimed = f"/v2/evil/blobs/{DIGEST}"
    server.routes[claimed] = Content(bytes(len(DATA)))

    async def scenario(world: World) -> None:
        await world.get(BLOB, ALICE)
        await world.settled()
        for _ in range(2):
            await world.get(claimed, method="HEAD", host="localhost")
            got = await world.get(claimed, host="localhost")
            assert not got.whole
            assert DATA[:1000] not in got.body
            await world.settled()

    run(scenario)


# What was said while something was on its way


def test_a_fetch_allows_its_client_once_it_is_verified(run: Run, server: FaultServer) -> None:
    """Until then it makes nothing public; who began it is not asked about again meanwhile."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        again = await world.ask(BLOB)
        assert [request.range for request in world.server.requests] == [None]
        bob = await world.ask(BLOB, BOB)
        assert [request.range for request in world.server.requests] == [None, "bytes=0-0"]
        gate.open()
        assert all([(await read(answer)).whole for answer in (leader, again, bob)])
        await world.settled()
        world.seen()
        assert (await world.get(BLOB, ("Authorization", "Basic carol"))).how == "hit"
        assert world.seen() == []

    run(scenario)


def test_a_refusal_meanwhile_voids_what_a_fetch_would_allow(run: Run, server: FaultServer) -> None:
    """A repository that turns private during a download is not public at its end."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (BLOB, TAG)}
        assert (await world.get(TAG)).status == 401
        gate.open()
        await read(leader)
        await world.settled()
        assert (await world.get(BLOB)).status == 401
        assert (await world.get(BLOB, BOB)).status == 401

    run(scenario)


AWAY = status(503, b"", {"Retry-After": "120"})


def test_what_was_refused_meanwhile_is_not_given_in_an_outage(
    run: Run, server: FaultServer
) -> None:
    """The end of a download does not write that anybody was given what nobody may have by then."""
    gate = Gate(100_000)
    server.routes[BLOB] = Content(DATA, gate=gate)

    async def scenario(world: World) -> None:
        leader = await world.ask(BLOB)
        server.routes |= {path: only(server.routes[path], ALICE[1]) for path in (BLOB, TAG)}
        assert (await world.get(TAG)).status == 401
        gate.open()
        await read(leader)
        await world.settled()
        server.routes |= dict.fromkeys((BLOB, TAG), AWAY)
        assert (await world.get(BLOB)).status == 503
        # Nor is it said to be public, which would let another registry claim it.
        server.routes[BLOB] = Content(bytes(len(DATA)), digest=str(DIGEST))
        got = await world.get(BLOB, BOB, host="localhost")
        assert (got.body == DATA, got.whole) == (False, False)

    run(scenario)


@pytest.mark.parametrize("change", ["refused", "deleted"])
def test_what_became_of_a_manifest_meanwhile_counts(
    run: Run, server: FaultServer, change: str
) -> None:
    """An answer that was on its way brings nothing back, for an outage either."""
    gate = Gate(10)
    server.routes[BY_DIGEST] = Content(MANIFEST, TYPE, MANIFEST_DIGEST, gate=gate)

    async def scenario(world: World) -> None:
        asking = asyncio.create_task(world.get(BY_DIGEST))
        await asyncio.to_thread(server.await_request, path=BY_DIGEST)
        server.routes[TAG] = only(server.routes[TAG])
        if change == "deleted":
            await changed(world, "DELETE", BY_DIGEST)
        else:
            assert (await world.get(TAG)).status == 401
        gate.open()
        assert (await asking).body == MANIFEST
        server.routes[BY_DIGEST] = AWAY
        assert (await world.get(BY_DIGEST)).status == 503
        repository = Repository(Origin("http", "127.0.0.1", server.port), "app")
        found = world.store.manifests.find(repository, Digest.parse(MANIFEST_DIGEST))
        assert (found is None) is (change == "deleted")

    run(scenario)


def test_a_deletion_before_the_first_byte_counts(run: Run, server: FaultServer) -> None:
    """A fetch that upstream had not yet answered does not bring a deleted blob back."""
    wait = threading.Event()
    server.routes[BLOB] = Content(DATA, wait=wait)

    async def scenario(world: World) -> None:
        asking = asyncio.create_task(world.get(BLOB))
        await asyncio.to_thread(server.await_request, path=BLOB)
        await changed(world, "DELETE", BLOB)
        wait.set()
        assert (await asking).body == DATA
        await world.settled()
        server.routes[BLOB] = AWAY
        assert (await world.get(BLOB)).status == 503

    run(scenario)
