"""Which requests for a token show no credentials."""

import pytest

from entrepot.auth.anonymous_tokens import is_anonymous
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields, Request


@pytest.mark.parametrize(
    ("method", "query", "fields", "anonymous"),
    [
        ("GET", "", (), True),
        ("GET", "service=registry.docker.io&scope=repository:a/b:pull", (), True),
        ("GET", "service=a&scope=b&scope=c&client_id=docker&offline_token=true", (), True),
        ("GET", "service=a&account=alice", (), True),
        ("GET", "service=a", (("User-Agent", "docker"), ("Accept", "*/*")), True),
        ("GET", "service=a", (("Authorization", "Basic eA=="),), False),
        ("GET", "service=a", (("authorization", ""),), False),
        ("GET", "service=a", (("Cookie", "session=1"),), False),
        ("GET", "service=a", (("X-Api-Key", "1"),), False),
        ("GET", "service=a&refresh_token=x", (), False),
        ("GET", "service=a&password=x", (), False),
        ("GET", "service=a&access_token", (), False),
        ("GET", "service=a&%70assword=x", (), False),
        ("POST", "service=a", (), False),
        ("HEAD", "service=a", (), False),
    ],
)
def test_only_a_plain_get_without_credentials_is_anonymous(
    method: str,
    query: str,
    fields: Fields,
    anonymous: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Whatever could carry an identity, known or not, makes the token somebody's."""
    origin = Origin("https", "auth.docker.io", 443)
    assert is_anonymous(Request(method, origin, "/token", query, fields)) is anonymous
