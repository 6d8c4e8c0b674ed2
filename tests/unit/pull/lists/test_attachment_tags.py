"""That nothing is attached to an image is known when its registry is away."""

import pytest

from rig.faults import Content, FaultServer, error, status
from unit.pull.world import ALICE, BOB, MANIFEST, MANIFEST_DIGEST, TYPE, Got, Run, World

AWAY = status(503, b"", {"Retry-After": "120"})
TAGS = [f"/v2/app/manifests/sha256-{'0' * 64}{suffix}" for suffix in ("", ".sig", ".att", ".sbom")]
NOT_THERE = error(404, "MANIFEST_UNKNOWN", "in its words")


def is_missing(got: Got) -> bool:
    return (got.status, got.how) == (404, "hit; detail=stale")


@pytest.mark.parametrize("path", TAGS)
@pytest.mark.parametrize("who", [(), (ALICE,)], ids=["anybody", "alice"])
def test_nothing_is_attached_as_it_was(
    run: Run, server: FaultServer, path: str, who: tuple[tuple[str, str], ...]
) -> None:
    """By GET and HEAD, with its age, to who was told so and nobody else."""
    server.routes[path] = NOT_THERE

    async def scenario(world: World) -> None:
        got = await world.get(path, *who)
        assert (got.status, b"in its words" in got.body) == (404, True)
        server.routes[path] = AWAY
        world.now[0] += 20
        for method in ("GET", "HEAD"):
            got = await world.get(path, *who, method=method)
            assert is_missing(got)
            assert got.headers["age"] == "20"
        for others in ((BOB,), (ALICE,), ()):
            if others != who:
                assert (await world.get(path, *others)).status == 503
        server.routes[path] = lambda exchange: exchange.cut()
        assert is_missing(await world.get(path, *who))

    run(scenario)


@pytest.mark.parametrize("name", ["1", "sha256-0", f"sha256-{'0' * 63}", f"x-sha256-{'0' * 64}"])
def test_no_other_tag_is_missed(run: Run, server: FaultServer, name: str) -> None:
    """Whether an image is there is only ever the registry's to say."""
    path = f"/v2/app/manifests/{name}"
    server.routes[path] = NOT_THERE

    async def scenario(world: World) -> None:
        assert (await world.get(path)).status == 404
        server.routes[path] = AWAY
        assert (await world.get(path)).status == 503

    run(scenario)


def test_what_was_attached_since_is_what_counts(run: Run, server: FaultServer) -> None:
    """And that it was taken away again."""
    path, attached = TAGS[1], Content(MANIFEST, TYPE, MANIFEST_DIGEST)

    async def scenario(world: World) -> None:
        for answer in (NOT_THERE, attached, NOT_THERE, attached):
            server.routes[path] = answer
            world.now[0] += 1
            await world.get(path)
            server.routes[path] = AWAY
            assert is_missing(await world.get(path)) is (answer is NOT_THERE)

    run(scenario)


def test_it_counts_no_longer_than_a_tag_does(run: Run, server: FaultServer) -> None:
    """`--max-stale`."""
    server.routes[TAGS[0]] = NOT_THERE

    async def scenario(world: World) -> None:
        await world.get(TAGS[0])
        server.routes[TAGS[0]] = AWAY
        world.now[0] += 31 * 86400
        assert (await world.get(TAGS[0])).status == 503

    run(scenario)
