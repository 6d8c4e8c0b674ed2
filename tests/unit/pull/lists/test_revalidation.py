"""Lists of a registry: as it gives them, and as it last gave them once it is away."""

import json
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from entrepot.config.networks import Network
from entrepot.protocol.account import Account
from entrepot.pull.lists import revalidation
from entrepot.storage.diskcache_db.keys import LISTS as LISTS_ON_DISK
from rig.faults import Content, Exchange, FaultServer, Handler, error, redirect, status
from unit.pull.world import ALICE, BOB, CHALLENGE, CLIENT, DIGEST, Got, Run, World, only

TAGS, CATALOG = "/v2/app/tags/list", "/v2/_catalog"
REFERRERS = f"/v2/app/referrers/{DIGEST}"
INDEX = "application/vnd.oci.image.index.v1+json"
LISTS: Sequence[tuple[str, dict[str, object], str]] = [
    (TAGS, {"name": "app", "tags": ["1", "2"]}, "application/json"),
    (CATALOG, {"repositories": ["app"]}, "application/json"),
    (REFERRERS, {"schemaVersion": 2, "manifests": [{"digest": str(DIGEST)}]}, INDEX),
]
ONE = json.dumps(LISTS[0][1]).encode()
TWO = json.dumps({"name": "app", "tags": ["1", "2", "3"]}).encode()
AWAY = status(503, b"", {"Retry-After": "120"})
PRIVATE: tuple[Network, ...] = (ip_network(f"{CLIENT}/32"),)


def listing(body: bytes = ONE, media_type: str = "application/json", **fields: str) -> Content:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Content(body, media_type, headers=named)


def tagged(etag: str, body: bytes = ONE) -> Handler:
    """A list that is confirmed by its ETag."""

    def answer(exchange: Exchange) -> None:
        if etag in exchange.request.headers.get("if-none-match", ""):
            exchange.send(304, headers={"ETag": etag})
        else:
            listing(body, ETag=etag)(exchange)

    return answer


def is_stale(got: Got, body: bytes = ONE) -> bool:
    return (got.status, got.how, got.body) == (200, "hit; detail=stale", body)


@pytest.mark.parametrize(("path", "document", "media_type"), LISTS)
def test_what_it_last_was_is_served_while_the_registry_is_away(
    run: Run, server: FaultServer, path: str, document: dict[str, object], media_type: str
) -> None:
    """By GET and HEAD, with what the registry said of it, marked with its age."""
    body = json.dumps(document).encode()
    told = {"Link": f'<{path}?last=1>; rel="next"', "OCI-Filters-Applied": "artifactType"}
    api = {"Docker-Distribution-Api-Version": "registry/2.0", "Set-Cookie": "a=b"}
    server.routes[path] = Content(body, media_type, headers={**told, **api, "ETag": '"1"'})

    async def scenario(world: World) -> None:
        fresh = await world.get(path)
        assert (fresh.status, fresh.body) == (200, body)
        assert fresh.how.startswith("fwd=bypass; detail=")
        server.routes[path] = AWAY
        world.now[0] += 100
        for method, content in (("GET", body), ("HEAD", b"")):
            got = await world.get(path, method=method)
            assert is_stale(got, content)
            assert got.headers["age"] == "100"
            assert got.headers["content-length"] == str(len(body))
            assert got.headers["content-type"] == media_type
            assert "it last confirmed this list of " in got.headers["warning"]
            for name, value in {**told, "ETag": '"1"'}.items():
                assert got.headers[name.lower()] == value
            assert "set-cookie" not in got.headers

    run(scenario)


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(502, b"<html>", {"Content-Type": "text/html"}),
        status(503),
        error(429, "TOOMANYREQUESTS", "wait"),
        lambda exchange: exchange.cut(),
        Content(ONE, cut_after=5),
        Content(ONE, cut_after=5, chunked=True),
    ],
    ids=["500", "502 page", "503", "429", "reset", "cut", "cut in chunks"],
)
def test_whatever_fails_in_passing(run: Run, server: FaultServer, trouble: Handler) -> None:
    """A registry's failure, or half an answer, is no answer; a limit of its is none either."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = trouble
        assert is_stale(await world.get(TAGS))
        assert not is_stale(await world.get(f"{TAGS}?n=1")), "another page"
        server.routes[TAGS] = listing(TWO)
        assert (await world.get(TAGS)).body == TWO

    run(scenario)


def test_without_a_list_its_failure_is_told(run: Run, server: FaultServer) -> None:
    """As the registry says it; or that it could not be asked."""
    server.routes[TAGS] = error(503, "DOWN", "in its words")

    async def scenario(world: World) -> None:
        got = await world.get(TAGS)
        assert (got.status, b"in its words" in got.body) == (503, True)
        server.routes[TAGS] = lambda exchange: exchange.cut()
        got = await world.get(TAGS)
        assert (got.status, got.how) == (502, "fwd=bypass; detail=tags")

    run(scenario)


def test_a_list_that_has_not_changed_is_not_sent_again(run: Run, server: FaultServer) -> None:
    """By its ETag; a client's own condition is answered, too."""
    server.routes[TAGS] = tagged('"1"')

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        world.now[0] += 50
        got = await world.get(TAGS)
        assert (got.status, got.how, got.body) == (200, "hit; detail=revalidated", ONE)
        assert (got.headers["age"], got.headers["etag"]) == ("0", '"1"')
        for method in ("GET", "HEAD"):
            got = await world.get(TAGS, ("If-None-Match", '"0", W/"1"'), method=method)
            assert (got.status, got.body) == (304, b"")
        got = await world.get(TAGS, ("If-None-Match", '"0"'))
        assert (got.status, got.body) == (200, ONE)
        server.routes[TAGS] = tagged('"2"', TWO)
        got = await world.get(TAGS)
        assert (got.status, got.how, got.body) == (200, "fwd=bypass; detail=tags", TWO)
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS), TWO)
        got = await world.get(TAGS, ("If-None-Match", '"2"'))
        assert (got.status, got.how, got.body) == (304, "hit; detail=stale", b"")
        asked = [one.headers.get("if-none-match") for one in server.requests]
        assert asked[:6] == [None, '"1"', '"0", W/"1"', '"0", W/"1"', '"0"', '"1"']

    run(scenario)


def test_a_clients_condition_is_no_ones_else(run: Run, server: FaultServer) -> None:
    """A 304 to what is not held is passed on, and nothing comes of it."""
    server.routes[TAGS] = tagged('"1"')

    async def scenario(world: World) -> None:
        got = await world.get(TAGS, ("If-None-Match", '"1"'))
        assert (got.status, got.how) == (304, "fwd=bypass; detail=tags")
        assert (await world.get(TAGS)).body == ONE
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS))

    run(scenario)


def test_what_is_confirmed_is_as_old_as_its_confirmation(run: Run, server: FaultServer) -> None:
    server.routes[TAGS] = tagged('"1"')

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        world.now[0] += 1000
        await world.get(TAGS)
        server.routes[TAGS] = AWAY
        world.now[0] += 7
        assert (await world.get(TAGS)).headers["age"] == "7"

    run(scenario)


def test_what_was_lost_meanwhile_is_asked_for_whole(run: Run, server: FaultServer) -> None:
    """A 304 to our own condition never reaches the client, whatever became of the copy."""
    server.routes[TAGS] = tagged('"1"')

    async def scenario(world: World) -> None:
        await world.get(TAGS)

        def damage() -> None:
            rows = world.store.lists._rows._cache  # noqa: SLF001
            rows._sql("UPDATE Cache SET value = ? WHERE key >= 'list '", (b"damaged",))  # noqa: SLF001

        await world.context.store_thread.run(damage, None)
        got = await world.get(TAGS)
        assert (got.status, got.body) == (200, ONE)

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        Content(b"<html>log in", "text/html"),
        Content(b"<html>log in", "application/json"),
        Content(b'{"login": "here"}', "application/json"),
        Content(b'{"repositories": ["app"]}', "application/json"),
        Content(ONE, "text/html"),
        listing(ONE, Link='<https://elsewhere.example.test/>; rel="next"'),
        redirect("https://login.example.test/"),
        status(204),
    ],
)
def test_what_is_no_list_is_not_kept(run: Run, server: FaultServer, answer: Handler) -> None:
    """A portal's page answered 200, another document, and what another server has to give."""
    server.routes[TAGS] = answer

    async def scenario(world: World) -> None:
        assert (await world.get(TAGS)).status < 400
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS)).status == 503

    run(scenario)


def test_what_another_got_instead_takes_nothing_away(run: Run, server: FaultServer) -> None:
    """A portal in the way between two answers of the registry."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = Content(b"<html>log in", "text/html")
        assert (await world.get(TAGS)).body == b"<html>log in"
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS))

    run(scenario)


def test_a_part_is_the_registrys_to_give(run: Run, server: FaultServer) -> None:
    """A Range goes on as it came, and its answer is for nobody else."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        got = await world.get(TAGS, ("Range", "bytes=0-4"))
        assert (got.status, got.body) == (206, ONE[:5])
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS)).status == 503

    run(scenario)


def test_each_question_has_its_own_answer(run: Run, server: FaultServer) -> None:
    """Pages by their query to the byte, referrers by what the client accepts."""

    def answer(exchange: Exchange) -> None:
        accept = exchange.request.headers["accept"]
        body = {"schemaVersion": 2, "manifests": [], "asked": [exchange.request.query, accept]}
        Content(json.dumps(body).encode(), INDEX)(exchange)

    server.routes[REFERRERS] = answer
    queries = ("", "?artifactType=a", "?artifactType=b", "?n=1&last=a", "?last=a&n=1")
    asks = [(query, accept) for query in queries for accept in ("x/y", "x/z")]

    async def scenario(world: World) -> None:
        for query, accept in asks:
            await world.get(REFERRERS + query, ("Accept", accept))
        server.routes[REFERRERS] = AWAY
        for query, accept in asks:
            got = await world.get(REFERRERS + query, ("Accept", accept))
            assert got.how == "hit; detail=stale"
            assert json.loads(got.body)["asked"] == [query[1:], accept]
        assert (await world.get(f"{REFERRERS}?artifactType=c", ("Accept", "x/y"))).status == 503

    run(scenario)


def test_nothing_that_one_client_says_is_told_to_others(run: Run, server: FaultServer) -> None:
    """A registry that believes Forwarded would name its host in everybody's Link."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS, ("Forwarded", "host=evil.example.test"), ("Via", "x"))
        (seen,) = server.requests
        assert not {"forwarded", "via"} & set(seen.headers)
        await world.get(TAGS, ("Origin", "https://page.example.test"))
        assert server.requests[-1].headers["origin"] == "https://page.example.test"

    run(scenario)


# Who may have it


def test_a_list_is_for_whom_the_registry_gave_it(run: Run, server: FaultServer) -> None:
    """Each login has its own, for as long as what it is told counts; others have nothing."""
    mine, others = listing(ONE), listing(TWO)

    def by_login(exchange: Exchange) -> None:
        (mine if exchange.request.authorization == ALICE[1] else others)(exchange)

    server.routes[TAGS] = only(by_login, ALICE[1], BOB[1])

    async def scenario(world: World) -> None:
        await world.get(TAGS, ALICE)
        server.routes[TAGS], answering = AWAY, server.routes[TAGS]
        assert is_stale(await world.get(TAGS, ALICE))
        for who in ((BOB,), ()):
            assert (await world.get(TAGS, *who)).status == 503
        server.routes[TAGS] = answering
        await world.get(TAGS, BOB)
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS, BOB), TWO)
        assert is_stale(await world.get(TAGS, ALICE), ONE)
        world.now[0] += 61
        assert (await world.get(TAGS, ALICE)).status == 503
        nothing: list[str] = []
        rows = await world.context.store_thread.run(
            lambda: world.store.lists._rows.keys(LISTS_ON_DISK),  # noqa: SLF001
            nothing,
        )
        assert rows == [], "nothing of a login is on the disk"

    run(scenario)


def test_what_is_public_is_for_all(run: Run, server: FaultServer) -> None:
    """What anonymous clients were told, everybody may have."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS, ALICE))

    run(scenario)


def test_an_account_has_its_own(run: Run, server: FaultServer) -> None:
    """What the proxy was told as an account is for whom it asks as that account."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        world.account = Account("robot", "secret")
        await world.get(TAGS)
        server.routes[TAGS] = AWAY
        world.now[0] += 10_000
        assert is_stale(await world.get(TAGS))
        world.account = Account("another", "secret")
        assert (await world.get(TAGS)).status == 503
        world.account = None
        assert (await world.get(TAGS)).status == 503

    run(scenario)


@pytest.mark.parametrize("code", [401, 403, 404, 410, 451])
@pytest.mark.parametrize("who", [(), (ALICE,)], ids=["anybody", "alice"])
def test_a_refusal_takes_away_what_its_client_had(
    run: Run, server: FaultServer, code: int, who: tuple[tuple[str, str], ...]
) -> None:
    """It is told as it comes, and counts for the time when the registry is away."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS, *who)
        await world.get(f"{TAGS}?n=1", *who)
        server.routes[TAGS] = error(code, "NO", "in its words")
        got = await world.get(TAGS, *who)
        assert (got.status, b"in its words" in got.body) == (code, True)
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS, *who)).status == 503
        others = await world.get(f"{TAGS}?n=1", *who)
        assert is_stale(others) is (code not in (401, 403)), "of the same repository"

    run(scenario)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_a_stranger_is_told_takes_nothing_from_others(
    run: Run, server: FaultServer, code: int
) -> None:
    """Neither from anonymous clients, nor from another login."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        await world.get(TAGS, ALICE)
        server.routes[TAGS] = error(code, "NO", "you may not")
        assert (await world.get(TAGS, BOB)).status == code
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS))
        assert is_stale(await world.get(TAGS, ALICE))
        assert is_stale(await world.get(TAGS, BOB)) is (code != 404)

    run(scenario)


def test_a_challenge_to_who_shows_no_token_is_no_refusal(run: Run, server: FaultServer) -> None:
    """Each client begins so: what is public stays, for who was told before with a token."""
    server.routes[TAGS] = listing()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://login.example.test/token"'}

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = error(401, "UNAUTHORIZED", "get a token", challenge)
        assert (await world.get(TAGS)).status == 401
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS))

    run(scenario)


def test_a_refusal_of_the_repository_counts_for_its_lists(run: Run, server: FaultServer) -> None:
    """Who may pull nothing any more sees no tags either."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        for who in ((), (ALICE,)):
            await world.get(TAGS, *who)
        world.now[0] += 1
        refusal = error(401, "UNAUTHORIZED", "log in", CHALLENGE)
        server.routes["/v2/app/manifests/1"] = refusal
        for who in ((), (ALICE,)):
            assert (await world.get("/v2/app/manifests/1", *who)).status == 401
        server.routes[TAGS] = AWAY
        for who in ((), (ALICE,)):
            assert (await world.get(TAGS, *who)).status == 503

    run(scenario)


def test_a_wrong_question_is_no_refusal_of_others(run: Run, server: FaultServer) -> None:
    """400 for an `n` that is no number ends nothing but that."""
    server.routes[TAGS] = listing()

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = error(400, "PAGINATION_NUMBER_INVALID", "want a number")
        assert (await world.get(f"{TAGS}?n=x")).status == 400
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS))

    run(scenario)


@pytest.mark.parametrize("chosen", [True, False])
def test_chosen_networks_get_whatever_is_held(
    run: Run, server: FaultServer, *, chosen: bool
) -> None:
    """--offline-private: also what was told to a login of somebody's."""
    server.routes[TAGS] = only(listing(), ALICE[1])

    async def scenario(world: World) -> None:
        await world.get(TAGS, ALICE)
        world.now[0] += 10_000
        server.routes[TAGS] = AWAY
        for who in ((), (BOB,), (ALICE,)):
            got = await world.get(TAGS, *who)
            assert is_stale(got) is chosen

    run(scenario, private=PRIVATE if chosen else ())


# Registries without referrers


@pytest.mark.parametrize("code", [400, 404, 405, 406])
def test_that_a_registry_has_no_referrers_is_known_when_it_is_away(
    run: Run, server: FaultServer, code: int
) -> None:
    """Clients go on with the tag `sha256-<hex>` then, which is kept as any other."""
    server.routes[REFERRERS] = error(code, "UNSUPPORTED", "no")

    async def scenario(world: World) -> None:
        assert (await world.get(REFERRERS)).status == code
        server.routes[REFERRERS] = AWAY
        for method in ("GET", "HEAD"):
            got = await world.get(REFERRERS, method=method)
            assert (got.status, got.how) == (code, "hit; detail=stale")
        assert (await world.get(REFERRERS, ALICE)).status == 503, "who never asked"
        server.routes[REFERRERS] = listing(b'{"schemaVersion": 2, "manifests": []}')
        assert (await world.get(REFERRERS)).status == 200

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        status(404, b"<html>", {"Content-Type": "text/html"}),
        error(401, "UNAUTHORIZED", "log in", CHALLENGE),
        error(501, "UNSUPPORTED", "no"),
    ],
)
def test_no_other_answer_says_so(run: Run, server: FaultServer, answer: Handler) -> None:
    """Least of all a page that is in the way."""
    server.routes[REFERRERS] = answer

    async def scenario(world: World) -> None:
        await world.get(REFERRERS)
        server.routes[REFERRERS] = AWAY
        assert (await world.get(REFERRERS)).status == 503

    run(scenario)


def test_no_other_list_is_missed(run: Run, server: FaultServer) -> None:
    """That a repository is not there is only ever the registry's to say."""
    server.routes[TAGS] = error(404, "NAME_UNKNOWN", "no")

    async def scenario(world: World) -> None:
        await world.get(TAGS)
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS)).status == 503

    run(scenario)


def test_nothing_at_all_is_no_list_of_referrers(run: Run, server: FaultServer) -> None:
    """An empty 200 after a 404 is no list, though nothing was kept of that answer either."""
    server.routes[REFERRERS] = error(404, "NOT_FOUND", "no")

    async def scenario(world: World) -> None:
        await world.get(REFERRERS)
        server.routes[REFERRERS] = Content(b"", INDEX)
        assert (await world.get(REFERRERS)).body == b""
        server.routes[REFERRERS] = AWAY
        assert (await world.get(REFERRERS)).status == 404

    run(scenario)


# Bounds


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_list_streams_and_is_kept(run: Run, server: FaultServer, *, chunked: bool) -> None:
    """More than is read at once, and less than is not kept."""
    tags = [f"v{number}" for number in range(100_000)]
    body = json.dumps({"name": "app", "tags": tags}).encode()
    assert len(body) > 2 * revalidation._SMALL  # noqa: SLF001
    server.routes[TAGS] = Content(body, "application/json", chunked=chunked)

    async def scenario(world: World) -> None:
        for _ in range(2):
            assert (await world.get(TAGS)).body == body
        server.routes[TAGS] = AWAY
        assert is_stale(await world.get(TAGS), body)

    run(scenario)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_list_too_large_passes_and_is_not_kept(
    run: Run, server: FaultServer, *, chunked: bool
) -> None:
    body = json.dumps({"name": "app", "tags": ["t" * 100] * 50_000}).encode()
    assert len(body) > 4 * 1024**2
    server.routes[TAGS] = Content(body, "application/json", chunked=chunked)

    async def scenario(world: World) -> None:
        assert (await world.get(TAGS)).body == body
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS)).status == 503

    run(scenario)


def test_an_answer_that_was_asked_for_before_a_refusal_comes_to_nothing(
    run: Run, server: FaultServer
) -> None:
    """A list on its way while its client is refused is not kept for later."""
    large = json.dumps({"name": "app", "tags": ["t" * 100] * 10_000}).encode()
    server.routes[TAGS] = Content(large, "application/json", chunked=True)

    async def scenario(world: World) -> None:
        slow = await world.ask(TAGS)
        world.now[0] += 1
        server.routes[TAGS] = error(403, "DENIED", "no")
        assert (await world.get(TAGS)).status == 403
        assert not isinstance(slow.content, bytes)
        while await slow.content.read():
            pass
        slow.close()
        server.routes[TAGS] = AWAY
        assert (await world.get(TAGS)).status == 503

    run(scenario)
