"""Who may be served what while upstream is away, and how old it may be."""

from dataclasses import replace

import pytest

from entrepot.protocol.account import ANYONE, Account
from entrepot.protocol.identifiers import Tag
from entrepot.storage.tags import TagEntry
from unit.pull.away import (
    ALICE,
    CHILD,
    DIGEST,
    LAYER,
    MANIFEST,
    NOBODY,
    OTHER,
    REPOSITORY,
    TYPE,
    Away,
)


@pytest.mark.parametrize(
    ("max_stale", "age", "served"),
    [(60.0, 0.0, True), (60.0, 59.0, True), (60.0, 60.0, False), (0.0, 0.0, False)],
)
def test_a_tag_may_be_so_old(away: Away, max_stale: float, age: float, *, served: bool) -> None:
    """0 turns it off."""
    away.keep(public=True)
    entry = TagEntry(str(DIGEST), away.now - age)
    found = away.find(away.stale(max_stale=max_stale), {TYPE: entry})
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
    away: Away, known: str, accept: str, *, served: bool
) -> None:
    away.keep(public=True)
    entry = TagEntry(str(DIGEST), away.now)
    assert (away.find(away.stale(), {known: entry}, accept) == DIGEST) is served


@pytest.mark.parametrize("digest", ["sha256:short", str(LAYER)])
def test_a_tag_whose_manifest_is_not_here_is_not_served(away: Away, digest: str) -> None:
    """Nor one whose row is damaged."""
    away.keep(public=True)
    assert away.find(away.stale(), {TYPE: TagEntry(digest, away.now)}) is None


def test_an_account_gets_what_it_got(away: Away) -> None:
    """Who is not asked for as that account does not; a refusal of the account ends it."""
    fleet, other = (replace(NOBODY, account=Account(name)) for name in ("fleet", "other"))
    stale, label = away.stale(), Account("fleet").label
    assert away.store.manifests.put(REPOSITORY, DIGEST, MANIFEST, TYPE, given_to=label)
    assert away.may_have(stale, request=fleet)
    assert not any(away.may_have(stale, request=one) for one in (NOBODY, ALICE, other))
    stale.served(REPOSITORY, DIGEST, lambda: [LAYER])
    assert away.may_have(stale, LAYER, fleet)
    assert not away.may_have(stale, LAYER)
    away.wait(1)
    away.store.decisions.set_refused(REPOSITORY, label)
    assert not away.may_have(stale, request=fleet)


@pytest.mark.parametrize("public", [True, False])
def test_anybody_gets_what_anybody_got(away: Away, *, public: bool) -> None:
    """In that repository; a refusal since then ends it, whoever asks."""
    away.keep(public=public)
    away.keep(OTHER, public=False)
    stale = away.stale()
    assert away.may_have(stale) is public
    assert away.may_have(stale, request=ALICE) is public
    assert not away.may_have(stale, repository=OTHER)
    away.wait(1)
    away.store.decisions.set_refused(REPOSITORY, ANYONE)
    assert not away.may_have(stale)


def test_a_remembered_decision_is_one_clients(away: Away) -> None:
    """It ends when it would have ended."""
    away.keep(public=False)
    stale, access = away.stale(), away.access
    access.allow(REPOSITORY, access.credentials.of(ALICE), (DIGEST,), access.asked(away.now))
    assert away.may_have(stale, request=ALICE)
    assert not away.may_have(stale)
    away.wait(61)
    assert not away.may_have(stale, request=ALICE)


def test_a_manifest_so_served_speaks_for_what_it_lists(away: Away) -> None:
    """An index for its manifests' layers too; what is private speaks for nothing."""
    stale = away.stale()
    away.keep(public=True)
    away.keep(OTHER, public=False)
    assert not away.may_have(stale, LAYER)
    for repository in (REPOSITORY, OTHER):
        stale.served(repository, DIGEST, lambda: [CHILD])
        stale.served(repository, CHILD, lambda: [LAYER])
    assert away.may_have(stale, CHILD)
    assert away.may_have(stale, LAYER)
    assert not away.may_have(stale, LAYER, repository=OTHER)
    away.wait(1)
    away.store.decisions.set_refused(REPOSITORY, ANYONE)
    assert not away.may_have(stale, LAYER)


def test_a_tag_that_is_gone_is_not_served_since_an_index_lists_what_it_was(away: Away) -> None:
    """Such an index, served for another tag, speaks for the manifest by its digest alone."""
    stale, decisions = away.stale(), away.store.decisions
    away.keep(public=False)
    assert away.store.manifests.put(REPOSITORY, CHILD, b"index", TYPE, given_to=ANYONE)
    stale.served(REPOSITORY, CHILD, lambda: [DIGEST])
    away.store.tags.set(REPOSITORY, "1", TYPE, DIGEST)
    entries = away.store.tags.get(REPOSITORY, "1")
    assert away.find(stale, entries) == DIGEST
    decisions.set_gone(REPOSITORY, Tag("1"), ANYONE)
    assert away.find(stale, entries) is None
    assert away.may_have(stale)
    decisions.set_found(REPOSITORY, Tag("1"), ANYONE)
    assert away.find(stale, entries) == DIGEST


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
    away: Away, networks: tuple[str, ...], client: str, *, served: bool
) -> None:
    """Off by default; an address that cannot be read is in no network."""
    away.keep(public=False)
    assert away.may_have(away.stale(*networks), request=replace(NOBODY, client=client)) is served
