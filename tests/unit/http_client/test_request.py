"""Targets, made of URLs."""

import pytest

from entrepot.http_client.request import Target
from entrepot.protocol.identifiers import Origin


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("http://a.test", Target(Origin("http", "a.test", 80), "/")),
        ("https://A.test:443/x?y=1#z", Target(Origin("https", "a.test", 443), "/x?y=1")),
        ("https://[::1]:5000/", Target(Origin("https", "::1", 5000), "/")),
    ],
)
def test_an_absolute_url_is_split(url: str, parsed: Target) -> None:
    """Origin, path and query; a fragment is the client's own."""
    assert Target.parse(url) == parsed


@pytest.mark.parametrize("url", ["", "/a", "a.test", "ftp://a.test/", "http://", "http://a:b/"])
def test_anything_else_is_no_url(url: str) -> None:
    """Other schemes, and URLs without a host, are refused."""
    with pytest.raises(ValueError, match=r"."):
        Target.parse(url)
