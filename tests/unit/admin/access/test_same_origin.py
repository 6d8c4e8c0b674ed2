"""Whether another site made a request."""

import pytest

from entrepot.admin.access.same_origin import is_same_origin


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({}, True),  # no browser
        ({"origin": "http://cache:3128"}, True),
        ({"origin": "https://cache:3128"}, True),  # behind something that does TLS
        ({"origin": "http://cache:3128", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://attacker.example"}, False),
        ({"origin": "http://cache:8080"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "cache:3128"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://cache:3128", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_what_browsers_say(fields: dict[str, str], *, same: bool) -> None:
    """Both fields must agree with the host that was asked."""
    assert is_same_origin({"host": "cache:3128", **fields}) is same
