"""Which account counts for a registry, a repository and a client."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from entrepot.auth.accounts import Accounts, Found
from entrepot.config.registry_tables import RegistryTable, Surroundings, read_registries
from entrepot.protocol.account import NOBODY, Account, Login
from entrepot.protocol.identifiers import HostPort, Origin

REGISTRY = Origin.parse("https://registry.example.test")
OTHER = Origin.parse("https://other.example.test")
LOGIN = {"username": "fleet", "password": "pw"}


def read(
    tables: Mapping[str, object], *, environ: Mapping[str, str] | None = None, exposed: bool = False
) -> list[RegistryTable]:
    return read_registries(tables, Surroundings(environ or {}, Path("/nowhere"), exposed))


def accounts(**table: object) -> Accounts:
    return Accounts(read({"registry.example.test": table}))


def named(account: Account | None) -> str | None:
    return None if account is None else account.username


def prefixed(*prefixes: str) -> dict[str, object]:
    return {prefix: {"username": f"for {prefix}", "password": "pw"} for prefix in prefixes}


@pytest.mark.parametrize(
    ("prefix", "name", "counts"),
    [
        ("acme/", "acme/app", True),
        ("acme", "acme/app", True),
        ("acme/", "acme/deep/app", True),
        ("acme/", "acme", True),
        ("acme/", "acmecorp/app", False),
        ("acme", "acmecorp/app", False),
        ("acme/app", "acme/app", True),
        ("acme/app", "acme/app/part", True),
        ("acme/app", "acme/application", False),
        ("acme/", "other/acme/app", False),
        ("acme/", "", False),
    ],
)
def test_a_prefix_is_one_of_whole_components(prefix: str, name: str, *, counts: bool) -> None:
    """`acme/` is not the beginning of `acmecorp/app`."""
    found = accounts(repository=prefixed(prefix)).of(REGISTRY, name, "10.0.0.1")
    assert (found is not None) == counts


def test_the_longest_prefix_counts() -> None:
    """A login for a part is preferred to one for the whole, in whatever order they are written."""
    some = accounts(**LOGIN, repository=prefixed("acme/", "acme/app/secret", "acme/app"))
    of = [some.of(REGISTRY, name, "") for name in ("", "library/x", "acme/x", "acme/app/x")]
    assert list(map(named, of)) == ["fleet", "fleet", "for acme/", "for acme/app"]
    assert named(some.of(REGISTRY, "acme/app/secret/x", "")) == "for acme/app/secret"


@pytest.mark.parametrize(
    "other",
    [
        "https://other.example.test",
        "http://registry.example.test",
        "https://registry.example.test:5000",
    ],
)
def test_an_account_is_for_one_registry(other: str) -> None:
    """Another host, scheme or port is another registry."""
    assert accounts(**LOGIN).of(Origin.parse(other), "app", "") is None


@pytest.mark.parametrize(
    ("client", "gets"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.168.7.7", True),
        ("192.168.7.8", False),
        ("11.0.0.1", False),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("fe80::1", False),
        ("", False),
        ("?", False),
    ],
)
def test_only_named_clients_get_the_account(client: str, *, gets: bool) -> None:
    """`clients` are networks or addresses; who is in none has no account."""
    networks = ["10.0.0.0/8", "192.168.7.7", "fd00::/8"]
    some = accounts(**LOGIN, clients=networks, repository=prefixed("acme"))
    assert {some.of(REGISTRY, name, client) is not None for name in ("app", "acme/app")} == {gets}


def test_docker_io_stands_for_docker_hub() -> None:
    """`docker.io` is no registry; two hosts are, and both are intercepted."""
    (table,) = read({"docker.io": LOGIN})
    assert table.hosts == (HostPort("registry-1.docker.io"), HostPort("index.docker.io"))
    some = Accounts([table])
    for host in ("registry-1.docker.io", "index.docker.io"):
        assert named(some.of(Origin("https", host, 443), "library/x", "")) == "fleet"
    assert some.of(Origin("https", "docker.io", 443), "library/x", "") is None


def test_what_was_found_elsewhere_comes_after_the_tables() -> None:
    """A table's login is preferred, and its clients and realms count for others' too."""
    realm = {"realm": ["login.other.test"], "clients": ["10.0.0.0/8"]}
    tables = read({"registry.example.test": {**realm, "repository": prefixed("acme")}})
    found = [
        Found(origin, prefix, Account("found", "pw"))
        for origin in (REGISTRY, OTHER)
        for prefix in ((), ("acme",))
    ]
    some = Accounts(tables, found)
    whole = some.of(REGISTRY, "app", "10.0.0.1")
    assert whole is not None
    assert whole.username == "found"
    assert whole.realms == {Origin.parse("https://login.other.test")}
    assert named(some.of(REGISTRY, "acme/app", "10.0.0.1")) == "for acme"
    assert some.of(REGISTRY, "app", "11.0.0.1") is None
    assert named(some.of(OTHER, "acme/app", "11.0.0.1")) == "found"


def test_a_registry_without_a_login_has_no_account() -> None:
    """A table may be there for its host alone."""
    (table,) = read({"registry.example.test": {}})
    assert table.hosts == (HostPort("registry.example.test"),)
    assert Accounts([table]).of(REGISTRY, "app", "") is None


def test_an_account_shows_no_secret() -> None:
    """Neither `repr` nor `str` has the password, whatever it is in."""
    some = [Account("fleet", "secret"), Login("fleet", "secret"), *read({"r.test": LOGIN})]
    assert "secret" not in f"{some!r}{some}"
    assert "'pw'" not in f"{some!r}"
    assert NOBODY.login() == Login("", "")
