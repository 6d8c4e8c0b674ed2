"""Who may be served what while upstream is away, and how old it may be."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.account import ANYONE, Account
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.messages import Request
from entrepot.pull.pull import Pull, TagPull
from entrepot.pull.stale import MAX_STALE, StaleIfError
from entrepot.storage.store import Store
from entrepot.storage.tags import TagEntry
from entrepot.upstream.context import Context

ORIGIN = Origin("https", "registry.example.test", 443)
REPOSITORY, OTHER = Repository(ORIGIN, "app"), Repository(ORIGIN, "other")
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"layers": []}'
DIGEST, LAYER, CHILD = Digest.of(MANIFEST), Digest.of(b"layer"), Digest.of(b"child")
NOBODY = Request("GET", ORIGIN, "/v2/app/manifests/1", client="10.1.2.3")
ALICE = replace(NOBODY, headers=(("Authorization", "Basic alice"),))


@dataclass
class World:
    """What decides in an stale, and what it decides by; the clock is the test's."""

    store: Store
    context: Context
    access: Access
    clock: list[float]

    @property
    def now(self) -> float:
        return self.clock[0]

    def wait(self, seconds: float) -> None:
        self.clock[0] += seconds

    def stale(self, *networks: str, max_stale: float = MAX_STALE) -> StaleIfError:
        return StaleIfError(self.context, max_stale, tuple(ip_network(text) for text in networks))

    def keep(self, repository: Repository = REPOSITORY, *, public: bool) -> None:
        assert self.store.manifests.put(
            repository, DIGEST, MANIFEST, TYPE, given_to=ANYONE if public else None
        )

    def may_have(
        self,
        stale: StaleIfError,
        digest: Digest = DIGEST,
        request: Request = NOBODY,
        repository: Repository = REPOSITORY,
    ) -> bool:
        who = self.access.credentials.of(request)
        return asyncio.run(stale.may_have(Pull(request, repository, digest, who)))

    def find(
        self, stale: StaleIfError, entries: dict[str, TagEntry], accept: str = TYPE
    ) -> Digest | None:
        request = replace(NOBODY, headers=(("Accept", accept),))
        pull = TagPull(request, REPOSITORY, Tag("1"), self.access.credentials.of(NOBODY))
        found = asyncio.run(stale.find(pull, entries))
        return found.digest if found is not None else None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    now = [1e9]

    def clock() -> float:
        return now[0]

    with closing(Store(tmp_path / "data", 10**7, clock=clock)) as store:
        access = Access(b"secret")
        context = Context.make(store, HttpClient(Roots(None, None)), access, Events(), clock)
        with closing(context):
            yield World(store, context, access, now)


@pytest.mark.parametrize(
    ("max_stale", "age", "served"),
    [(60.0, 0.0, True), (60.0, 59.0, True), (60.0, 60.0, False), (0.0, 0.0, False)],
)
def test_a_tag_may_be_so_old(world: World, max_stale: float, age: float, *, served: bool) -> None:
    """0 turns it off."""
    world.keep(public=True)
    entry = TagEntry(str(DIGEST), world.now - age)
    found = world.find(world.stale(max_stale=max_stale), {TYPE: entry})
    assert (found == DIGEST) is served


@pytest.mark.parametrize(
    ("known", "accept", "served"),
    [
        (TYPE, TYPE, True),
        ("a/b", TYPE, True),
        ("a/b", f"c/d,{TYPE}", True),
        ("a/b", "*/*", True),
        ("a/b", "c/d", False),
    ],
)
def test_what_was_chosen_for_another_accept_serves_who_takes_it(
    world: World, known: str, accept: str, *, served: bool
) -> None:
    world.keep(public=True)
    entry = TagEntry(str(DIGEST), world.now)
    assert (world.find(world.stale(), {known: entry}, accept) == DIGEST) is served


@pytest.mark.parametrize("digest", ["sha256:short", str(LAYER)])
def test_a_tag_whose_manifest_is_not_here_is_not_served(world: World, digest: str) -> None:
    """Nor one whose row is damaged."""
    world.keep(public=True)
    assert world.find(world.stale(), {TYPE: TagEntry(digest, world.now)}) is None


def test_an_account_gets_what_it_got(world: World) -> None:
    """Who is not asked for as that account does not; a refusal of the account ends it."""
    fleet, other = (replace(NOBODY, account=Account(name)) for name in ("fleet", "other"))
    stale, label = world.stale(), Account("fleet").label
    assert world.store.manifests.put(REPOSITORY, DIGEST, MANIFEST, TYPE, given_to=label)
    assert world.may_have(stale, request=fleet)
    assert not any(world.may_have(stale, request=one) for one in (NOBODY, ALICE, other))
    stale.served(REPOSITORY, DIGEST, lambda: [LAYER])
    assert world.may_have(stale, LAYER, fleet)
    assert not world.may_have(stale, LAYER)
    world.wait(1)
    world.store.decisions.set_refused(REPOSITORY, label)
    assert not world.may_have(stale, request=fleet)


@pytest.mark.parametrize("public", [True, False])
def test_anybody_gets_what_anybody_got(world: World, *, public: bool) -> None:
    """In that repository; a refusal since then ends it, whoever asks."""
    world.keep(public=public)
    world.keep(OTHER, public=False)
    stale = world.stale()
    assert world.may_have(stale) is public
    assert world.may_have(stale, request=ALICE) is public
    assert not world.may_have(stale, repository=OTHER)
    world.wait(1)
    world.store.decisions.set_refused(REPOSITORY, ANYONE)
    assert not world.may_have(stale)


def test_a_remembered_decision_is_one_clients(world: World) -> None:
    """It ends when it would have ended."""
    world.keep(public=False)
    stale, access = world.stale(), world.access
    access.allow(REPOSITORY, access.credentials.of(ALICE), (DIGEST,), access.asked(world.now))
    assert world.may_have(stale, request=ALICE)
    assert not world.may_have(stale)
    world.wait(61)
    assert not world.may_have(stale, request=ALICE)


def test_a_manifest_so_served_speaks_for_what_it_lists(world: World) -> None:
    """An index for its manifests' layers too; what is private speaks for nothing."""
    stale = world.stale()
    world.keep(public=True)
    world.keep(OTHER, public=False)
    assert not world.may_have(stale, LAYER)
    for repository in (REPOSITORY, OTHER):
        stale.served(repository, DIGEST, lambda: [CHILD])
        stale.served(repository, CHILD, lambda: [LAYER])
    assert world.may_have(stale, CHILD)
    assert world.may_have(stale, LAYER)
    assert not world.may_have(stale, LAYER, repository=OTHER)
    world.wait(1)
    world.store.decisions.set_refused(REPOSITORY, ANYONE)
    assert not world.may_have(stale, LAYER)


@pytest.mark.parametrize(
    ("networks", "client", "served"),
    [
        ((), "10.1.2.3", False),
        (("10.1.0.0/16",), "10.1.2.3", True),
        (("10.1.0.0/16",), "10.2.2.3", False),
        (("10.1.0.0/16",), "::ffff:10.1.2.3", True),
        (("fd00::/8",), "fd00::1%eth0", True),
        (("fd00::/8", "10.9.0.0/16"), "10.1.2.3", False),
        (("0.0.0.0/0", "::/0"), "", False),
        (("0.0.0.0/0", "::/0"), "/run/socket", False),
    ],
)
def test_chosen_networks_get_what_is_private(
    world: World, networks: tuple[str, ...], client: str, *, served: bool
) -> None:
    """Off by default; an address that cannot be read is in no network."""
    world.keep(public=False)
    assert world.may_have(world.stale(*networks), request=replace(NOBODY, client=client)) is served


@pytest.mark.parametrize(
    ("request_", "after", "tag", "digest"),
    [
        (NOBODY, 0.0, False, False),
        (NOBODY, 59.0, False, False),
        (NOBODY, 60.0, True, False),
        (NOBODY, 600.0, True, True),
        (ALICE, 0.0, True, True),
        (replace(NOBODY, without_token=True), 1e6, False, False),
        (replace(NOBODY, origin=Origin("https", "other.test", 443)), 0.0, True, True),
    ],
)
def test_who_was_told_to_go_without_a_token_is_not_refused_for_it(
    world: World, request_: Request, after: float, *, tag: bool, digest: bool
) -> None:
    """Upstream is asked again for tags after a minute, for content by digest after ten."""
    stale = world.stale()
    stale.without_token.told(ORIGIN, [ORIGIN])
    world.wait(after)
    assert stale.may_ask(request_, by_digest=False) is tag
    assert stale.may_ask(request_, by_digest=True) is digest
