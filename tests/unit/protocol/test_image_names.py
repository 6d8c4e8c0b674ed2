"""Names of images are read as docker reads them."""

import pytest

from entrepot.protocol.identifiers import Digest, Origin, Tag
from entrepot.protocol.image_names import ImageName, registry_name

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis", "docker.io/library/redis"),
        ("redis:7", "docker.io/library/redis:7"),
        ("acme/app", "docker.io/acme/app"),
        ("docker.io/redis:7", "docker.io/library/redis:7"),
        ("docker.io/library/redis:7", "docker.io/library/redis:7"),
        ("index.docker.io/acme/app:1", "docker.io/acme/app:1"),
        ("registry-1.docker.io/acme/app:1", "docker.io/acme/app:1"),
        ("GHCR.io/a/b:1", "ghcr.io/a/b:1"),
        (f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        (f"ghcr.io/a/b:1@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("host:5000/team/app", "host:5000/team/app"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("ghcr.io/", "ghcr.io/"),
        ("ghcr.io/acme/", "ghcr.io/acme/"),
        ("docker.io/", "docker.io/"),
        ("acme/", "docker.io/acme/"),
    ],
)
def test_a_name_is_read(text: str, said: str) -> None:
    """In its one spelling it is the same name."""
    name = ImageName.parse(text)
    assert str(name) == said
    assert ImageName.parse(said) == name
    assert name.is_prefix == said.endswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7",
        "redis:",
        "Redis",
        "redis:7:8",
        "a b",
        "/redis",
        "ghcr.io/acme/:7",
        f"ghcr.io/@{DIGEST}",
        "redis@sha256:12",
        "redis@",
        "ghcr.io//",
        "ghcr.io/a//b",
        "https://ghcr.io/a",
        "host:port/a",
        "redis:.7",
        "\x1b[31m/a",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ImageName.parse(text)


def test_a_reference_is_a_tag_or_a_digest() -> None:
    assert ImageName.parse("redis:7").reference == Tag("7")
    assert ImageName.parse(f"redis@{DIGEST}").reference == Digest.parse(DIGEST)
    assert ImageName.parse("redis").reference is None


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://registry-1.docker.io", "docker.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("http://plain.example.test:5000", "plain.example.test:5000"),
        ("https://[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_registry_is_called_as_in_names(origin: str, name: str) -> None:
    assert registry_name(Origin.parse(origin)) == name
    assert ImageName.parse(f"{name}/team/app:1").registry == name
