"""What the tables of registries may say, and what is said of those that may not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from entrepot.config.registry_tables import RegistryTable, Surroundings, read_registries
from entrepot.protocol.account import Login
from entrepot.protocol.identifiers import HostPort, Origin

LOGIN = {"username": "fleet", "password": "pw"}


def read(
    tables: Mapping[str, object], *, environ: Mapping[str, str] | None = None, exposed: bool = False
) -> list[RegistryTable]:
    return read_registries(tables, Surroundings(environ or {}, Path("/nowhere"), exposed))


@pytest.mark.parametrize(
    ("key", "origin", "host", "plain"),
    [
        ("Ghcr.IO", "https://ghcr.io", HostPort("ghcr.io"), False),
        ("r.test:5000", "https://r.test:5000", HostPort("r.test", 5000), False),
        ("https://r.test", "https://r.test", HostPort("r.test", 443), False),
        ("http://r.test:5000", "http://r.test:5000", HostPort("r.test", 5000), True),
        ("[::1]:5000", "https://[::1]:5000", HostPort("::1", 5000), False),
    ],
)
def test_a_key_names_a_registry(key: str, origin: str, host: HostPort, *, plain: bool) -> None:
    """A port is 443 unless said; plain HTTP is only meant where it is said."""
    (table,) = read({key: LOGIN})
    assert (table.origins, table.hosts) == ((Origin.parse(origin),), (host,))
    assert [account.plain for _, account in table.accounts] == [plain]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("text", "expected a table"),
        ({"user": "x"}, "unknown key 'user', did you mean 'username'?"),
        ({"pasword_file": "x"}, "did you mean 'password_file'?"),
        ({"username": "x"}, "expected one of password, password_file, password_env, got none"),
        ({"password": "secret"}, "password needs a username"),
        (
            {**LOGIN, "password_file": "/x"},
            "expected one of password, password_file, password_env, got password and password_file",
        ),
        ({"username": "a:b", "password": "secret"}, "expected one without a colon, got 'a:b'"),
        ({"username": "", "password": "secret"}, "username is empty"),
        ({"username": "x", "password": ""}, "password is empty"),
        ({"username": "x", "password": 1234567}, "password: expected text, got int"),
        ({"username": "x", "password": "sec\nret"}, "password: expected no control characters"),
        ({"username": "x", "password_env": "NOPE"}, "environment variable NOPE is not set"),
        ({"username": "x", "password_env": "EMPTY"}, "environment variable EMPTY is not set"),
        ({"username": "x", "password_file": "/no/such"}, "cannot read /no/such: No such file"),
        ({"username": "x", "password_file": "/"}, "cannot read /: Is a directory"),
        ({"username": "x", "password_file": "a\0b"}, "password_file: expected a path"),
        ({**LOGIN, "clients": ["10.0.0.0/33"]}, "expected an address or a network"),
        ({**LOGIN, "clients": []}, "clients: expected at least one network"),
        ({**LOGIN, "realm": ["https://x/path"]}, "expected a host name"),
        ({"fill": "half"}, "fill: expected whole or asked, got 'half'"),
        ({"repository": {"/acme": LOGIN}}, "expected the beginning of a name, got '/acme'"),
        ({"repository": {"a b": LOGIN}}, "expected the beginning of a name, got 'a b'"),
        ({"repository": {"": LOGIN}}, "expected the beginning of a name, got ''"),
        ({"repository": {"a": LOGIN, "a/": LOGIN}}, "repository 'a/' is there twice"),
        ({"repository": {"a": {}}}, "the table needs a username"),
        ({"repository": {"a": {**LOGIN, "clients": ["::/0"]}}}, "unknown key 'clients'"),
    ],
)
def test_what_a_table_may_not_say(table: object, said: str) -> None:
    """One line that names the registry and what is wrong, and no password."""
    with pytest.raises(ValueError, match=r"^'r\.example\.test': ") as raised:
        read({"r.example.test": table}, environ={"EMPTY": ""})
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "1234567" not in str(raised.value)


def test_a_registry_is_there_once() -> None:
    """Two tables of one registry would hide one another."""
    with pytest.raises(ValueError, match="are the same registry"):
        read({"docker.io": LOGIN, "index.docker.io": LOGIN})


def test_a_password_stands_only_where_nobody_else_reads() -> None:
    """A literal password in a file that others can read is refused; a reference to one is not."""
    with pytest.raises(ValueError, match="only in a file of mode 0600"):
        read({"r.test": LOGIN}, exposed=True)
    given = {"username": "x", "password_env": "PW"}
    (table,) = read({"r.test": given}, environ={"PW": "secret"}, exposed=True)
    assert table.accounts[0][1].login() == Login("x", "secret")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"secret\n\n", "holds more than one line"),
        (b"secret\x00", "holds more than one line"),
        (b"\xff\xfe", "holds no UTF-8 text"),
        (b"secret" * 20_000, "holds more than one line"),
    ],
)
def test_what_a_password_file_may_not_hold(tmp_path: Path, content: bytes, said: str) -> None:
    """One clear line, which quotes nothing of the file."""
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=said) as raised:
        read({"r.test": {"username": "x", "password_file": str(file)}})
    assert "secret" not in str(raised.value)


def test_a_password_file_is_read_again_where_it_was_refused(tmp_path: Path) -> None:
    """Robots' passwords change; what is merely used costs no look at the file."""
    file = tmp_path / "password"
    file.write_text("first word\r\n")
    (table,) = read({"r.test": {"username": "x", "password_file": str(file)}})
    account = table.accounts[0][1]
    first = account.login()
    assert first == Login("x", "first word")
    assert account.login(refused=first) is None
    file.write_text("second\n")
    assert account.login() == first
    assert account.login(refused=first) == Login("x", "second")
    assert account.login(refused=first) == Login("x", "second")
    file.unlink()
    assert account.login(refused=Login("x", "second")) is None
    assert account.login() == Login("x", "second")
