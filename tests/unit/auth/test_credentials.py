"""Who asks: what tells credentials apart, and which tokens are anybody's."""

import pytest

from entrepot.auth.credentials import Credential
from entrepot.auth.grants import Access
from entrepot.protocol.account import NOBODY, Account
from entrepot.protocol.header_filters import identity_fields
from entrepot.protocol.identifiers import Digest, Origin, Repository
from entrepot.protocol.messages import Fields, Request

REGISTRY = Origin("https", "registry.example.test", 443)
REPOSITORY = Repository(REGISTRY, "team/app")
LAYER, OTHER = Digest.of(b"layer"), Digest.of(b"other")
NOW = 1000.0
ALICE: Fields = (("Authorization", "Basic YWxpY2U6c2VjcmV0"),)
TOKEN: Fields = (("Authorization", "Bearer token"),)


@pytest.fixture
def access() -> Access:
    return Access(b"secret of this process")


def who(access: Access, *fields: tuple[str, str]) -> Credential:
    return access.credentials.of(Request("GET", REGISTRY, "/v2/", headers=fields))


def test_an_account_is_who_asks(access: Access) -> None:
    """What the proxy asks as an account is that account's, whatever else the client sent."""

    def asks(account: Account | None, *fields: tuple[str, str]) -> Credential:
        return access.credentials.of(Request("GET", REGISTRY, "/", headers=fields, account=account))

    fleet = asks(Account("fleet", "pw"))
    assert not fleet.anonymous
    assert fleet == asks(Account("fleet", "changed"), ("X-Cookie", "1"))
    assert fleet != asks(Account("other", "pw"))
    assert asks(NOBODY).anonymous
    access.allow(REPOSITORY, fleet, [LAYER], access.asked(NOW))
    assert access.is_allowed(REPOSITORY, fleet, LAYER, NOW)
    for other in (asks(None), asks(NOBODY), asks(Account("other", "pw"))):
        assert not access.is_allowed(REPOSITORY, other, LAYER, NOW)


@pytest.mark.parametrize("name", ["account", "(account)", "Account", "username"])
def test_no_header_field_makes_a_client_the_account(access: Access, name: str) -> None:
    """A client that knows the account's name cannot pass for it."""
    fleet = Request("GET", REGISTRY, "/v2/", account=Account("fleet", "pw"))
    access.allow(REPOSITORY, access.credentials.of(fleet), [LAYER], access.asked(NOW))
    assert not access.is_allowed(REPOSITORY, who(access, (name, "fleet")), LAYER, NOW)


@pytest.mark.parametrize(
    ("fields", "anonymous"),
    [
        ((), True),
        ((("Accept", "*/*"), ("User-Agent", "docker"), ("Range", "bytes=0-")), True),
        ((("Proxy-Authorization", "Basic eA=="),), True),
        (ALICE, False),
        ((("authorization", ""),), False),
        ((("Cookie", "session=1"),), False),
        ((("PRIVATE-TOKEN", "glpat"),), False),
        ((("X-Never-Heard-Of", "1"),), False),
        ((("Authorization", "Bearer anonymous"),), True),
        ((("Authorization", "Bearer anonymous"), ("Cookie", "session=1")), False),
        ((("Authorization", "Bearer alices"),), False),
        ((("Authorization", "Bearer unseen"),), False),
        ((("Authorization", "Basic anonymous"),), False),
    ],
)
def test_only_who_shows_nothing_or_an_anonymous_token_is_anonymous(
    access: Access,
    fields: Fields,
    anonymous: bool,  # noqa: FBT001 a column of the table
) -> None:
    """An unknown header field may be a credential, and an unseen token counts as somebody's."""
    access.credentials.token_issued("anonymous", anonymous=True, expires=NOW + 60, now=NOW)
    access.credentials.token_issued("alices", anonymous=False, expires=NOW + 60, now=NOW)
    assert who(access, *fields).anonymous is anonymous


def test_the_order_of_fields_says_nothing_of_who_asks(access: Access) -> None:
    """The same identity fields in another order and spelling are the same credential."""
    one = who(access, ("Authorization", "Basic eA=="), ("Cookie", "a"))
    other = who(access, ("cookie", "a"), ("AUTHORIZATION", "Basic eA=="))
    assert one == other


def test_fields_cannot_be_shifted_into_each_other(access: Access) -> None:
    """Where a name ends and a value begins is part of the fingerprint."""
    one = who(access, ("x-a", "1"), ("x-b", "2"))
    assert one.fingerprint != who(access, ("x-a", "13:x-b1:2")).fingerprint


def test_a_fingerprint_dies_with_the_process() -> None:
    """Another secret gives another fingerprint, and neither holds the credential."""
    one, other = (who(Access(secret), *ALICE) for secret in (b"one", b"other"))
    assert one.fingerprint != other.fingerprint
    assert b"YWxpY2U6c2VjcmV0" not in one.fingerprint


def test_identity_fields_are_what_is_not_known_to_be_neutral() -> None:
    """Names come in lower case, neutral and hop-by-hop fields are left out."""
    request = Request(
        "GET", REGISTRY, "/v2/", headers=(("Accept", "*/*"), ("X-Auth", "A"), ("Connection", "x"))
    )
    assert identity_fields(request) == [("x-auth", "A")]


def test_a_token_given_out_again_to_somebody_is_no_longer_anonymous(access: Access) -> None:
    """What was last seen of a token counts."""
    access.credentials.token_issued("token", anonymous=True, expires=NOW + 60, now=NOW)
    access.credentials.token_issued("token", anonymous=False, expires=NOW + 60, now=NOW)
    assert not who(access, *TOKEN).anonymous


def test_an_ended_token_is_forgotten(access: Access) -> None:
    """After its end a token is an unknown one."""
    access.credentials.token_issued("token", anonymous=True, expires=NOW + 60, now=NOW)
    access.credentials.token_issued("next", anonymous=True, expires=NOW + 120, now=NOW + 60)
    assert not who(access, *TOKEN).anonymous
