"""Upstream's decisions, remembered: for whom, for what, and for how long."""

import gc
import tracemalloc

import pytest

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import (
    DECISION_SECONDS,
    LONGEST_DECISION_SECONDS,
    PUBLIC_SECONDS,
    Access,
    Asked,
)
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.messages import Fields, Request

REGISTRY = Origin("https", "registry.example.test", 443)
REPOSITORY = Repository(REGISTRY, "team/app")
LAYER, OTHER = Digest.of(b"layer"), Digest.of(b"other")
NOW = 1000.0
ALICE: Fields = (("Authorization", "Basic YWxpY2U6c2VjcmV0"),)
BOB: Fields = (("Authorization", "Basic Ym9iOnNlY3JldA=="),)
TOKEN: Fields = (("Authorization", "Bearer token"),)


@pytest.fixture
def access() -> Access:
    return Access(b"secret of this process")


def who(access: Access, *fields: tuple[str, str]) -> Credential:
    return access.credentials.of(Request("GET", REGISTRY, "/v2/", headers=fields))


@pytest.mark.parametrize(
    ("repository", "digest", "fields", "now", "allowed"),
    [
        (REPOSITORY, LAYER, ALICE, NOW, True),
        (REPOSITORY, LAYER, ALICE, NOW + DECISION_SECONDS - 1, True),
        (REPOSITORY, LAYER, ALICE, NOW + DECISION_SECONDS, False),
        (REPOSITORY, OTHER, ALICE, NOW, False),
        (REPOSITORY, LAYER, BOB, NOW, False),
        (REPOSITORY, LAYER, (), NOW, False),
        (REPOSITORY, LAYER, (*ALICE, ("Cookie", "session=1")), NOW, False),
        (REPOSITORY, LAYER, (*ALICE, ("User-Agent", "docker")), NOW, True),
        (Repository(REGISTRY, "team/other"), LAYER, ALICE, NOW, False),
        (Repository(Origin("http", REGISTRY.host, 80), "team/app"), LAYER, ALICE, NOW, False),
        (Repository(Origin("https", REGISTRY.host, 8443), "team/app"), LAYER, ALICE, NOW, False),
        (
            Repository(Origin("https", "other.example.test", 443), "team/app"),
            LAYER,
            ALICE,
            NOW,
            False,
        ),
    ],
)
def test_a_decision_counts_for_exactly_its_key_and_time(
    access: Access,
    repository: Repository,
    digest: Digest,
    fields: Fields,
    now: float,
    allowed: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Origin, repository, object and everything that identifies the client are the key."""
    access.allow(REPOSITORY, who(access, *ALICE), [LAYER], access.asked(NOW))
    assert access.is_allowed(repository, who(access, *fields), digest, now) is allowed


@pytest.mark.parametrize(
    ("life", "after", "allowed"),
    [
        (10.0, 9.0, True),
        (10.0, 10.0, False),
        (200.0, 199.0, True),
        (3600.0, LONGEST_DECISION_SECONDS - 1, True),
        (3600.0, LONGEST_DECISION_SECONDS, False),
        (-1.0, 0.0, False),
    ],
)
def test_a_decision_lives_as_long_as_its_token_up_to_five_minutes(
    access: Access,
    life: float,
    after: float,
    allowed: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Where the end of a token is known, it bounds what the token was allowed."""
    access.credentials.token_issued("token", anonymous=False, expires=NOW + life, now=NOW - 5)
    credential = who(access, *TOKEN)
    access.allow(REPOSITORY, credential, [LAYER], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, credential, LAYER, NOW + after) is allowed


@pytest.mark.parametrize(
    ("after", "public"), [(0.0, True), (PUBLIC_SECONDS - 1, True), (PUBLIC_SECONDS, False)]
)
def test_what_nobody_was_allowed_is_public_for_ten_minutes(
    access: Access,
    after: float,
    public: bool,  # noqa: FBT001 a column of the table
) -> None:
    """An anonymous request that upstream allowed opens the object to everybody."""
    access.allow(REPOSITORY, who(access), [LAYER], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, who(access, *BOB), LAYER, NOW + after) is public


def test_one_public_object_opens_no_other(access: Access) -> None:
    """What else the repository has, or had once, is upstream's to decide."""
    access.allow(REPOSITORY, who(access), [LAYER], access.asked(NOW))
    assert not access.is_allowed(REPOSITORY, who(access), OTHER, NOW)


def test_what_a_public_manifest_lists_is_public_as_long_as_it(access: Access) -> None:
    """Reading it by a name of one's own, too, opens what it lists for ten minutes."""
    manifest = Digest.of(b"manifest")
    access.allow(REPOSITORY, who(access), [manifest], access.asked(NOW))
    access.extend(REPOSITORY, who(access, *BOB), manifest, lambda: [LAYER])
    for after, public in ((PUBLIC_SECONDS - 1, True), (PUBLIC_SECONDS, False)):
        assert access.is_allowed(REPOSITORY, who(access), LAYER, NOW + after) is public


def test_a_named_client_makes_nothing_public(access: Access) -> None:
    """Alice's permission is hers."""
    access.allow(REPOSITORY, who(access, *ALICE), [LAYER], access.asked(NOW))
    assert not access.is_allowed(REPOSITORY, who(access), LAYER, NOW)


def test_an_anonymous_denial_ends_being_public(access: Access) -> None:
    """A repository that was made private is private at once."""
    access.allow(REPOSITORY, who(access), [LAYER], access.asked(NOW))
    access.deny(REPOSITORY, who(access))
    assert not access.is_allowed(REPOSITORY, who(access, *BOB), LAYER, NOW)


def test_a_denial_of_a_named_client_leaves_the_repository_public(access: Access) -> None:
    """Wrong credentials say nothing of what anybody may have."""
    access.allow(REPOSITORY, who(access), [LAYER], access.asked(NOW))
    access.deny(REPOSITORY, who(access, *BOB))
    assert access.is_allowed(REPOSITORY, who(access), LAYER, NOW)


def test_a_denial_forgets_all_that_this_client_was_allowed_there(access: Access) -> None:
    """Alice loses the repository, Bob keeps it, and Alice keeps the other one."""
    alice, bob = who(access, *ALICE), who(access, *BOB)
    another = Repository(REGISTRY, "team/other")
    for repository, credential in ((REPOSITORY, alice), (REPOSITORY, bob), (another, alice)):
        access.allow(repository, credential, [LAYER, OTHER], access.asked(NOW))
    access.deny(REPOSITORY, alice)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert not access.is_allowed(REPOSITORY, alice, OTHER, NOW)
    assert access.is_allowed(REPOSITORY, bob, LAYER, NOW)
    assert access.is_allowed(another, alice, LAYER, NOW)


def test_a_refusal_counts_more_than_an_allowance_that_was_asked_for_before(access: Access) -> None:
    """Of two answers the one that was asked for later is upstream's word, whichever came first."""
    anybody, earlier = who(access), access.asked(NOW)
    access.deny(REPOSITORY, anybody)
    access.allow(REPOSITORY, anybody, [LAYER], earlier)
    assert not access.is_allowed(REPOSITORY, anybody, LAYER, NOW)
    assert not access.still_counts(REPOSITORY, anybody, LAYER, earlier, NOW)
    access.allow(REPOSITORY, anybody, [LAYER], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, anybody, LAYER, NOW)


def test_a_deletion_counts_more_than_an_allowance_that_was_asked_for_before(
    access: Access,
) -> None:
    """What was on its way when the object was deleted does not bring it back."""
    alice, earlier = who(access, *ALICE), access.asked(NOW)
    access.forget(REPOSITORY, LAYER)
    access.allow(REPOSITORY, alice, [LAYER, OTHER], earlier)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert access.is_allowed(REPOSITORY, alice, OTHER, NOW)


def test_a_decision_counts_from_the_question(access: Access) -> None:
    """Upstream may take long to answer: the time that a decision counts began before that."""
    alice = who(access, *ALICE)
    asked = access.asked(NOW)
    access.allow(REPOSITORY, alice, [LAYER], asked)
    assert access.still_counts(REPOSITORY, alice, LAYER, asked, NOW + DECISION_SECONDS - 1)
    assert not access.still_counts(REPOSITORY, alice, LAYER, asked, NOW + DECISION_SECONDS)


def test_refusals_beyond_memory_void_what_was_asked_before_them(access: Access) -> None:
    """A flood of refusals cannot let an older allowance through."""
    alice, earlier = who(access, *ALICE), access.asked(NOW)
    access.deny(REPOSITORY, alice)
    for number in range(20_001):
        access.forget(REPOSITORY, Digest("sha256", f"{number:064x}"))
    access.allow(REPOSITORY, alice, [LAYER], earlier)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)


def test_a_deleted_object_is_forgotten_for_everybody(access: Access) -> None:
    """Whoever was allowed it has to ask again; other objects and repositories stay."""
    alice, bob = who(access, *ALICE), who(access, *BOB)
    another = Repository(REGISTRY, "team/other")
    for repository, credential in ((REPOSITORY, alice), (REPOSITORY, bob), (another, alice)):
        access.allow(repository, credential, [LAYER, OTHER], access.asked(NOW))
    access.forget(REPOSITORY, LAYER)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert not access.is_allowed(REPOSITORY, bob, LAYER, NOW)
    assert access.is_allowed(REPOSITORY, alice, OTHER, NOW)
    assert access.is_allowed(another, alice, LAYER, NOW)


@pytest.mark.parametrize(("after", "allowed"), [(59.0, True), (60.0, False)])
def test_listed_objects_are_allowed_as_long_as_their_manifest(
    access: Access,
    after: float,
    allowed: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Reading the manifest again does not lengthen upstream's decision."""
    alice, manifest = who(access, *ALICE), Digest.of(b"manifest")
    access.allow(REPOSITORY, alice, [manifest], access.asked(NOW))
    access.extend(REPOSITORY, alice, manifest, lambda: [LAYER])
    assert access.is_allowed(REPOSITORY, alice, LAYER, NOW + after) is allowed


def test_a_manifest_without_a_decision_extends_to_nothing(access: Access) -> None:
    """A list opens nothing that its manifest itself was not allowed."""
    alice = who(access, *ALICE)
    access.allow(REPOSITORY, alice, [OTHER], access.asked(NOW))
    access.extend(REPOSITORY, alice, Digest.of(b"manifest"), lambda: [LAYER])
    access.extend(REPOSITORY, who(access, *BOB), OTHER, lambda: [LAYER])
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert not access.is_allowed(REPOSITORY, who(access, *BOB), LAYER, NOW)


def test_a_huge_list_is_remembered_in_part(access: Access) -> None:
    """A manifest of 100,000 digests costs bounded memory; what is left out is asked again."""
    alice = who(access, *ALICE)
    digests = [Digest("sha256", f"{number:064x}") for number in range(3000)]
    access.allow(REPOSITORY, alice, digests, access.asked(NOW))
    remembered = sum(access.is_allowed(REPOSITORY, alice, digest, NOW) for digest in digests)
    assert 0 < remembered <= 2000


def test_what_was_read_since_is_not_allowed_by_a_deleted_manifest(access: Access) -> None:
    """A deleted object is not allowed by what lists it and was allowed before, however often."""
    alice, manifest = who(access, *ALICE), Digest.of(b"manifest")
    access.allow(REPOSITORY, alice, [manifest], access.asked(NOW))
    access.extend(REPOSITORY, alice, manifest, lambda: [LAYER, OTHER])
    access.forget(REPOSITORY, LAYER)
    access.extend(REPOSITORY, alice, manifest, lambda: [LAYER, OTHER])
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert access.is_allowed(REPOSITORY, alice, OTHER, NOW)
    access.allow(REPOSITORY, alice, [manifest], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    access.forget(REPOSITORY, manifest)
    assert not access.is_allowed(REPOSITORY, alice, OTHER, NOW)


def test_an_index_allows_its_manifests_and_those_their_layers(access: Access) -> None:
    """Once they were read, for as long as the index is allowed; nothing is allowed unread."""
    alice, index, manifest = who(access, *ALICE), Digest.of(b"index"), Digest.of(b"manifest")
    access.allow(REPOSITORY, alice, [index], access.asked(NOW))
    access.extend(REPOSITORY, alice, index, lambda: [manifest])
    assert access.is_allowed(REPOSITORY, alice, manifest, NOW + 59)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    access.extend(REPOSITORY, alice, manifest, lambda: [LAYER])
    for after, allowed in ((59, True), (60, False)):
        assert access.is_allowed(REPOSITORY, alice, LAYER, NOW + after) is allowed


def test_that_an_object_is_not_there_is_believed_for_whom_it_was_told(access: Access) -> None:
    """Of that object alone, by itself or as listed; what others were allowed stays."""
    alice, bob, manifest = who(access, *ALICE), who(access, *BOB), Digest.of(b"manifest")
    for one in (alice, bob):
        access.allow(REPOSITORY, one, [manifest, LAYER], access.asked(NOW))
        access.extend(REPOSITORY, one, manifest, lambda: [LAYER, OTHER])
    earlier = access.asked(NOW)
    access.gone(REPOSITORY, alice, LAYER)
    access.allow(REPOSITORY, alice, [LAYER], earlier)
    assert not access.is_allowed(REPOSITORY, alice, LAYER, NOW)
    assert not access.stands(REPOSITORY, alice, LAYER, earlier)
    for digest in (OTHER, manifest):
        assert access.is_allowed(REPOSITORY, alice, digest, NOW)
    assert access.is_allowed(REPOSITORY, bob, LAYER, NOW)
    access.allow(REPOSITORY, alice, [LAYER], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, alice, LAYER, NOW)


def test_only_what_is_told_to_all_who_are_anonymous_ends_being_public(access: Access) -> None:
    """A challenge to one who shows no token yet is no word on the others."""
    one, other = who(access), who(access, ("Authorization", "Bearer anonymous"))
    access.credentials.token_issued("anonymous", anonymous=True, expires=NOW + 60, now=NOW)
    access.allow(REPOSITORY, one, [LAYER, OTHER], access.asked(NOW))
    access.deny(REPOSITORY, one, everybody=False)
    access.gone(REPOSITORY, one, LAYER, everybody=False)
    assert access.is_allowed(REPOSITORY, other, LAYER, NOW)
    access.gone(REPOSITORY, one, LAYER)
    assert not access.is_allowed(REPOSITORY, other, LAYER, NOW)
    assert access.is_allowed(REPOSITORY, other, OTHER, NOW)


def test_the_last_word_on_a_tag_counts_for_whom_it_was_told(access: Access) -> None:
    """Nobody else hears of it."""
    alice, bob, tag = who(access, *ALICE), who(access, *BOB), Tag("1")
    access.told(REPOSITORY, alice.heard_as, tag, gone=True)
    assert access.is_gone(REPOSITORY, alice.heard_as, tag)
    assert not access.is_gone(REPOSITORY, alice.heard_as, Tag("2"))
    assert not access.is_gone(REPOSITORY, bob.heard_as, tag)
    access.told(REPOSITORY, alice.heard_as, tag, gone=False)
    assert not access.is_gone(REPOSITORY, alice.heard_as, tag)


def test_a_long_list_costs_each_credential_a_row(access: Access) -> None:
    """1,000 credentials that read a manifest of 2,000 entries take 2 MiB, not 70."""
    manifest = Digest.of(b"manifest")
    listed = [Digest("sha256", f"{number:064x}") for number in range(2000)]
    asked: list[int] = []

    def listing() -> list[Digest]:
        asked.append(1)
        return listed

    tracemalloc.start()
    try:
        for number in range(1000):
            one = who(access, ("Authorization", f"Basic {number}"))
            access.allow(REPOSITORY, one, [manifest], access.asked(NOW))
            access.extend(REPOSITORY, one, manifest, listing)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert access.is_allowed(REPOSITORY, one, listed[1999], NOW)
    assert (len(asked), taken < 2 * 2**20) == (1, True), taken


def test_the_collector_has_nothing_to_follow(access: Access) -> None:
    """Whatever is remembered: a collection takes as long as without."""
    gc.collect()
    before = len(gc.get_objects())
    for number in range(300):
        one = who(access, ("Authorization", f"Basic {number}"))
        manifest = Digest("sha256", f"{number:064x}")
        layers = [Digest("sha256", f"{number * 100 + n:064x}") for n in range(100)]
        access.allow(REPOSITORY, one, [manifest], access.asked(NOW))
        access.extend(REPOSITORY, one, manifest, lambda layers=layers: layers)  # type: ignore[misc]
        del layers
        access.deny(Repository(REGISTRY, f"a{number}"), one)
        access.credentials.token_issued(str(number), anonymous=True, expires=NOW + 60, now=NOW)
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_ended_decisions_take_no_memory(access: Access) -> None:
    """Each pull has a token of its own: what they were allowed goes when it has ended."""
    for pull in range(50):
        access.allow(REPOSITORY, who(access, ("Authorization", str(pull))), (LAYER,), Asked(NOW, 0))
    later = NOW + DECISION_SECONDS
    access.allow(REPOSITORY, who(access, *ALICE), (LAYER,), Asked(later, 0))
    assert len(access._grants) == 1  # noqa: SLF001 nothing else tells what is held
    assert access.is_allowed(REPOSITORY, who(access, *ALICE), LAYER, later)
