"""docker's config.json: which registries its entries name, and which logins they hold."""

import base64
import json
from pathlib import Path

import pytest

from entrepot.auth.accounts import Accounts
from entrepot.auth.docker_config import DockerConfig, read_docker_config
from entrepot.protocol.account import Login, LoginKind, LoginSource
from entrepot.protocol.identifiers import Origin

AUTH = base64.b64encode(b"alice:wonder:land").decode()
ALICE = Login("alice", "wonder:land")
HUB = ("https://registry-1.docker.io", "https://index.docker.io")


def make_helper(name: str, server: str) -> LoginSource:
    """A helper whose login says which it is."""
    if "/" in name:
        raise ValueError("bad")
    return lambda _refused: Login(name, server)


def read(folder: Path, document: object, mode: int = 0o600) -> DockerConfig:
    file = folder / "config.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    file.chmod(mode)
    return read_docker_config(file, make_helper)


def login(config: DockerConfig, origin: str, name: str = "") -> Login | None:
    account = Accounts(found=config.found).of(Origin.parse(origin), name, "")
    return None if account is None else account.login()


@pytest.mark.parametrize(
    ("key", "origins"),
    [
        ("ghcr.io", ["https://ghcr.io"]),
        ("GHCR.io", ["https://ghcr.io"]),
        ("https://ghcr.io", ["https://ghcr.io"]),
        ("https://ghcr.io/v2/", ["https://ghcr.io"]),
        ("http://r.test:5000", ["https://r.test:5000"]),  # as docker does; never over plain HTTP
        ("r.test:5000", ["https://r.test:5000"]),
        ("https://index.docker.io/v1/", HUB),
        ("index.docker.io/v1/", HUB),
        ("docker.io", HUB),
        ("registry-1.docker.io", HUB),
    ],
)
def test_a_key_names_a_registry(tmp_path: Path, key: str, origins: list[str]) -> None:
    """Hosts and URLs; all names of Docker Hub are one."""
    config = read(tmp_path, {"auths": {key: {"auth": AUTH}}})
    assert [str(found.origin) for found in config.found] == list(origins)
    assert {login(config, origin, "any/thing") for origin in origins} == {ALICE}


def test_podman_names_the_beginning_of_a_repository(tmp_path: Path) -> None:
    """containers-auth.json(5): the longest one counts."""
    auths = {"quay.io/acme": {"auth": AUTH}, "quay.io": {"registrytoken": "t"}}
    config = read(tmp_path, {"auths": auths})
    assert login(config, "https://quay.io", "acme/app") == ALICE
    assert login(config, "https://quay.io", "acmecorp/app") == Login("", "t", LoginKind.BEARER)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": AUTH}, ALICE),
        ({"auth": base64.b64encode(b"alice:wonder:land\0\0").decode()}, ALICE),
        (
            {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": "id"},
            Login("<token>", "id", LoginKind.IDENTITY),
        ),
        ({"identitytoken": "id"}, Login("", "id", LoginKind.IDENTITY)),
        ({"registrytoken": "rt"}, Login("", "rt", LoginKind.BEARER)),
        ({}, None),
        ({"email": "alice@example.com"}, None),
    ],
)
def test_what_an_entry_holds(tmp_path: Path, entry: dict[str, str], expected: Login | None) -> None:
    """A password, an identity token, a registry's token, or nothing."""
    config = read(tmp_path, {"auths": {"ghcr.io": entry}})
    assert (login(config, "https://ghcr.io"), config.skipped) == (expected, [])


def test_helpers_come_before_what_is_held(tmp_path: Path) -> None:
    """As in docker: one for a registry, then one for all that are named, by the key's own text."""
    hub, entry = "https://index.docker.io/v1/", {"auth": AUTH}
    config = read(
        tmp_path,
        {
            "auths": {hub: {}, "r.test": entry, "ecr.test": {}},
            "credHelpers": {"ecr.test": "ecr-login", "only.test": "gcloud"},
            "credsStore": "pass",
        },
    )
    assert login(config, HUB[0]) == Login("pass", hub)
    assert login(config, "https://r.test") == Login("pass", "r.test")
    assert login(config, "https://ecr.test") == Login("ecr-login", "ecr.test")
    assert login(config, "https://only.test") == Login("gcloud", "only.test")
    assert login(config, "https://other.test") is None


@pytest.mark.parametrize(
    "auths",
    [
        {"ftp://ghcr.io": {"auth": AUTH}},
        {"gh cr.io": {"auth": AUTH}},
        {"ghcr.io/a//b": {"auth": AUTH}},
        {"": {"auth": AUTH}},
        {"ghcr.io": {"auth": "???"}},
        {"ghcr.io": {"auth": base64.b64encode(b"secret-word").decode()}},
        {"ghcr.io": {"auth": base64.b64encode(b"\xff:\xff").decode()}},
        {"ghcr.io": {"auth": 7}},
        {"ghcr.io": {"registrytoken": "a\nb"}},
        {"ghcr.io": {"identitytoken": 7}},
        {"ghcr.io": "text"},
        {"ghcr.io": None},
    ],
)
def test_an_entry_that_cannot_be_read_is_left_out(tmp_path: Path, auths: dict[str, object]) -> None:
    """The others count; its key is told, and nothing else of it."""
    (key,) = auths
    config = read(tmp_path, {"auths": {**auths, "good.test": {"auth": AUTH}}})
    assert login(config, "https://good.test") == ALICE
    assert config.skipped == [key]
    assert len(config.found) == 1


@pytest.mark.parametrize("helper", ["a/b", 7, ["x"]])
def test_a_helper_of_no_name_is_left_out(tmp_path: Path, helper: object) -> None:
    """A file that somebody else wrote runs no program of its own choice."""
    config = read(tmp_path, {"credHelpers": {"ghcr.io": helper}})
    assert (config.found, config.skipped) == ([], ["ghcr.io"])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "is not a JSON file"),
        ("{secret-word", "is not a JSON file"),
        ("[" * 100_000, "is not a JSON file"),
        ([], "is not a docker config"),
        ({"auths": ["secret-word"]}, "auths is no object"),
        ({"credHelpers": "secret-word"}, "credHelpers is no object"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, document: object, said: str) -> None:
    """One line, which quotes nothing."""
    with pytest.raises(ValueError, match=said) as raised:
        read(tmp_path, document)
    assert str(tmp_path) in str(raised.value)
    assert "secret-word" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match="No such file or directory"):
        read_docker_config(tmp_path / "none", make_helper)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_logins_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    """Docker writes 0600; a file that only names helpers holds no secret."""
    with pytest.raises(ValueError, match="others can read it"):
        read(tmp_path, {"auths": {"ghcr.io": {"auth": AUTH}}}, mode)
    config = read(tmp_path, {"auths": {"ghcr.io": {}}, "credHelpers": {"a.test": "x"}}, mode)
    assert len(config.found) == 1
