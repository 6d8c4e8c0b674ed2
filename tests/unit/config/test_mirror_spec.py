"""What `--mirror` says."""

import pytest

from entrepot.config.mirror_spec import Mirror
from entrepot.protocol.identifiers import Origin

HUB = Origin("https", "registry-1.docker.io", 443)
PLAIN = Origin("http", "plain.example.test", 5000)


@pytest.mark.parametrize(
    ("text", "mirror", "shown"),
    [
        (":5000", Mirror("", 5000), ":5000"),
        ("127.0.0.1:5000=docker.io", Mirror("127.0.0.1", 5000, HUB), "127.0.0.1:5000"),
        ("[::1]:5000", Mirror("::1", 5000), "[::1]:5000"),
        (":0=ghcr.io", Mirror("", 0, Origin("https", "ghcr.io", 443)), ":0"),
        (":1=http://plain.example.test:5000", Mirror("", 1, PLAIN), ":1"),
        (":1=[::1]:5000", Mirror("", 1, Origin("https", "::1", 5000)), ":1"),
    ],
)
def test_a_mirror_is_a_place_and_perhaps_a_registry(text: str, mirror: Mirror, shown: str) -> None:
    assert Mirror.parse(text) == mirror
    assert str(mirror) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5000",
        ":",
        ":99999",
        "::1:5000",
        ":5000=",
        ":5000=docker.io/library",
        ":5000=ftp://docker.io",
        ":5000=https://",
        ":5000=a b",
        ":5000=user:password@host",
        "127.1:5000",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Mirror.parse(text)
