"""The configuration: what each option takes, which source wins, what an error says."""

import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy
from entrepot.config.load import load_config
from entrepot.config.networks import Recorded
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.config.settings import Config, ConfigError
from entrepot.events.lines import LogFormat
from entrepot.protocol.identifiers import HostPort
from rig.needs import need_root

HOME = Path("/home/me")
SECRET = "hunter2"  # noqa: S105 it must never be seen again


def load(
    given_options: Mapping[str, str | bool | list[str]] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    root: bool = False,
) -> Config:
    """Load with nothing in the environment that the test does not put there."""
    return load_config(given_options or {}, environ or {}, HOME, root)


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Write a file and return the options that name it."""

    def write(text: str) -> dict[str, str]:
        file = tmp_path / "entrepot.toml"
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        return {"config": str(file)}

    return write


Toml = Callable[[str], dict[str, str]]


def test_upstream_proxy_never_shows_its_credentials() -> None:
    """Neither repr, nor str, nor the configuration's repr holds the credentials."""
    config = load({"upstream_proxy": f"http://somebody:{SECRET}@proxy.corp:3128"})
    assert config.upstream_proxy is not None
    shown = f"{config} {config.upstream_proxy} {config.upstream_proxy.url}"
    assert SECRET not in shown
    assert "somebody" not in shown


@pytest.mark.parametrize(
    "text",
    [
        f"socks5://me:{SECRET}@proxy.corp:1080",
        f"me:{SECRET}@proxy.corp:3128",
        f"http://me:{SECRET}@proxy.corp:port",
        f"http://me:{SECRET}@proxy.corp:3128/path",
        f"http://me:{SECRET}@",
        f"http://me:{SECRET}",
        f"http://proxy.corp:3128@me:{SECRET}",
        f"http://me:a@b{SECRET}@proxy.corp:3128",
        f"http://me:%ff{SECRET}@proxy.corp:3128",
        f"http://me:%0d%0a{SECRET}@proxy.corp:3128",
        f"http://m%3Ae:{SECRET}@proxy.corp:3128",
        f"http://me:{SECRET}@proxy corp:3128",
        f"{SECRET}\n",
    ],
)
@pytest.mark.parametrize("source", ["given", "file"])
def test_no_error_shows_a_password(text: str, source: str, toml: Toml) -> None:
    """However a proxy URL is malformed, its password is in no message and no traceback."""
    quoted = text.replace("\n", "\\n")
    options = (
        {"upstream_proxy": text} if source == "given" else toml(f'upstream_proxy = "{quoted}"')
    )
    with pytest.raises(ConfigError) as caught:
        load(options)
    assert "upstream_proxy" in str(caught.value)
    assert "http[s]://" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_mistyped_proxy_does_not_show_a_password(toml: Toml) -> None:
    """A list where one URL belongs is an error that does not quote the list."""
    with pytest.raises(ConfigError, match="expected text, got list") as caught:
        load(toml(f'upstream_proxy = ["http://me:{SECRET}@p:1"]'))
    assert SECRET not in str(caught.value)


def test_defaults() -> None:
    """With nothing said, everything but the data folder has its default."""
    assert load() == Config(
        data=HOME / ".local/share/entrepot",
        listen=Listen("", 3128),
        size=None,
        upstream_ca=None,
        resolve=(),
        upstream_proxy=None,
        registry=(),
        only_listed=False,
        permit=(),
    )


@pytest.mark.parametrize(
    ("environ", "root", "data"),
    [
        ({}, True, "/var/lib/entrepot"),
        ({"XDG_DATA_HOME": "/x"}, True, "/var/lib/entrepot"),
        ({}, False, "/home/me/.local/share/entrepot"),
        ({"XDG_DATA_HOME": "/x"}, False, "/x/entrepot"),
        ({"XDG_DATA_HOME": ""}, False, "/home/me/.local/share/entrepot"),
        ({"XDG_DATA_HOME": "relative"}, False, "/home/me/.local/share/entrepot"),
        ({"ENTREPOT_DATA": "/srv/e"}, True, "/srv/e"),
        ({"ENTREPOT_DATA": "~/e"}, False, "/home/me/e"),
        ({"ENTREPOT_DATA": ""}, True, "/var/lib/entrepot"),
    ],
)
def test_data_folder_by_environment(environ: dict[str, str], root: bool, data: str) -> None:  # noqa: FBT001
    """Root keeps its data under /var/lib, others under XDG_DATA_HOME, ENTREPOT_DATA before both."""
    assert load({}, environ, root=root).data == Path(data)


def test_every_option_in_a_file(toml: Toml) -> None:
    """A file can say all that the command line can."""
    options = toml("""
        listen = "[::1]:8080"
        data = "~/data"
        size = "50GiB"
        upstream_ca = "/etc/ca.pem"
        resolve = ["ghcr.io:443:127.0.0.1"]
        upstream_proxy = "http://me:secret@p:1"
        no_proxy = [".corp.example", "10.0.0.0/8"]
        registry = ["ghcr.io", "[::1]:5000"]
        only_listed = true
        record = "networks"
        record_keep = "7d"
        record_size = "1GiB"
        log_format = "json"
        access_log = true
        permit = ["example.com"]
    """)
    assert load(options) == Config(
        listen=Listen("::1", 8080),
        data=HOME / "data",
        size=50 * 2**30,
        upstream_ca=Path("/etc/ca.pem"),
        resolve=(Resolve("ghcr.io", 443, "127.0.0.1", 443),),
        upstream_proxy=UpstreamProxy("http", "p", 1, "me", "secret"),
        no_proxy=(NoProxyEntry.parse(".corp.example"), NoProxyEntry.parse("10.0.0.0/8")),
        registry=(HostPort("ghcr.io"), HostPort("::1", 5000)),
        only_listed=True,
        record=Recorded.NETWORKS,
        record_keep=7 * 86400.0,
        record_size=2**30,
        log_format=LogFormat.JSON,
        access_log=True,
        permit=("example.com",),
    )


@pytest.mark.parametrize(
    ("mode", "owner", "refused"),
    [
        (0o600, 0, False),
        (0o640, 0, False),
        (0o640, 1, True),
        (0o644, 0, True),
        (0o604, 0, True),
        (0o400, 1, False),
    ],
)
def test_a_file_with_a_password_is_for_few_eyes(
    toml: Toml,
    mode: int,
    owner: int,
    refused: bool,  # noqa: FBT001
) -> None:
    """Nobody else may read it; its group may where root owns it, as for a service's file."""
    need_root()
    options = toml(f'upstream_proxy = "http://me:{SECRET}@p:1"')
    os.chown(options["config"], owner, -1)
    Path(options["config"]).chmod(mode)
    if not refused:
        assert load(options).upstream_proxy is not None
        return
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load(options)
    assert SECRET not in str(caught.value)


def test_a_file_without_a_password_may_be_read_by_all(toml: Toml) -> None:
    """A user's name is no secret."""
    options = toml('upstream_proxy = "http://me@p:1"')
    Path(options["config"]).chmod(0o644)
    assert load(options).upstream_proxy is not None


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1"),
        ({"https_proxy": "http://a:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        ({"HTTPS_PROXY": "", "https_proxy": "b:1"}, "http://b:1"),
        ({"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://a:1"}, None),
        ({}, None),
    ],
)
def test_the_environment_names_a_proxy(environ: dict[str, str], url: str | None) -> None:
    """HTTPS_PROXY does, as it does for docker and curl; a scheme may be missing."""
    config = load({}, environ)
    proxy = config.upstream_proxy
    assert (proxy.url if proxy else None) == url
    assert proxy is None or proxy.by_environment


def test_what_was_given_wins_over_the_environments_proxy(toml: Toml) -> None:
    """Those variables were set for other programs as well: even the file comes before them."""
    environ = {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "a.example,b.example"}
    file = toml('upstream_proxy = "http://file:1"\nno_proxy = ["file.example"]')
    config = load(file, environ)
    assert config.upstream_proxy == UpstreamProxy("http", "file", 1)
    assert config.no_proxy == (NoProxyEntry.parse("file.example"),)
    given_list = load({**file, "no_proxy": ["given.example"]}, environ)
    assert given_list.no_proxy == (NoProxyEntry.parse("given.example"),)
    only_url = load({"upstream_proxy": "http://given:1"}, environ)
    assert only_url.no_proxy == (NoProxyEntry.parse("a.example"), NoProxyEntry.parse("b.example"))


def test_an_unusable_proxy_in_the_environment_is_no_way_past_it() -> None:
    """What cannot be used is an error, not silence, and shows no password."""
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY: .*http\[s\]://") as caught:
        load({}, {"HTTPS_PROXY": f"socks5://me:{SECRET}@p:1"})
    assert SECRET not in str(caught.value)


def test_size_in_a_file_may_be_a_number(toml: Toml) -> None:
    """TOML has integers, and bytes are one."""
    assert load(toml("size = 1048576")).size == 2**20


def test_given_wins_over_environment_over_file(toml: Toml) -> None:
    """The command line is the last word, the file the first."""
    file = toml('data = "/file"\nlisten = ":1"')
    environ = {"ENTREPOT_DATA": "/environment"}
    assert load(file).data == Path("/file")
    assert load(file, environ).data == Path("/environment")
    assert load({**file, "data": "/given"}, environ).data == Path("/given")
    assert load(file, environ).listen == Listen("", 1)


def test_repeatable_option_is_replaced_whole(toml: Toml) -> None:
    """Registries on the command line are instead of the file's, not beside them."""
    file = toml('registry = ["a", "b"]\nonly_listed = true')
    assert load({**file, "registry": ["c"]}).registry == (HostPort("c"),)
    assert load({**file, "only_listed": False}).only_listed is False


def test_single_text_is_one_of_a_repeatable_option(toml: Toml) -> None:
    """One registry needs no brackets."""
    assert load(toml('registry = "ghcr.io"')).registry == (HostPort("ghcr.io"),)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("upstream-ca", "'upstream_ca'"),
        ("registries", "'registry'"),
        ("sise", "'size'"),
        ("Listen", "'listen'"),
        ("zzz", "listen, mirror, data"),
    ],
)
def test_unknown_key_names_its_neighbour(key: str, hint: str, toml: Toml) -> None:
    """A misspelt key is an error that names the file, the key and what was likely meant."""
    options = toml(f'{key} = "x"')
    with pytest.raises(ConfigError) as caught:
        load(options)
    assert all(part in str(caught.value) for part in (options["config"], repr(key), hint))


def test_file_cannot_name_another_file(toml: Toml) -> None:
    """`config` is no key of the file."""
    with pytest.raises(ConfigError, match="unknown option 'config'"):
        load(toml('config = "/etc/other.toml"'))


def test_unknown_given_option_is_an_error() -> None:
    """An option that no table row describes is not silently dropped."""
    with pytest.raises(ConfigError, match="unknown option 'sizes', did you mean 'size'"):
        load({"sizes": "1"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('size = "big"', "size: expected a size .* got 'big'"),
        ("size = true", "size: expected text, got True"),
        ("size = 1.5", "size: expected text, got 1.5"),
        ("size = -1", "size: expected a size .* got '-1'"),
        ("listen = 3128", "listen: expected text, got 3128"),
        ('listen = "3128"', "listen: expected :PORT or HOST:PORT.* got '3128'"),
        ('only_listed = "yes"', "only_listed: expected true or false, got 'yes'"),
        ("registry = 5", "registry: expected text, got 5"),
        ("registry = [5]", "registry: expected text, got 5"),
        ('registry = ["https://a"]', r"registry: expected HOST\[:PORT\].* got 'https://a'"),
        ('resolve = ["a"]', "resolve: expected HOST:PORT:ADDR.* got 'a'"),
        ('permit = ["*.a"]', r"permit: expected a DNS name.* got '\*.a'"),
        ('data = ""', "data: expected a path, got ''"),
        ('record = "all"', "record: expected clients, networks or none, got 'all'"),
        ('log_format = "xml"', "log_format: expected text or json, got 'xml'"),
        ("[listen]\nport = 1", "listen: expected text, got {'port': 1}"),
    ],
)
def test_wrong_value_is_quoted_with_what_is_accepted(line: str, message: str, toml: Toml) -> None:
    """A wrong value names its file and option, is quoted, and learns what would be right."""
    options = toml(line)
    with pytest.raises(ConfigError, match=message) as caught:
        load(options)
    assert str(caught.value).startswith(options["config"])
    assert "\n" not in str(caught.value)


def test_wrong_environment_names_its_variable() -> None:
    """A wrong ENTREPOT_DATA is told from a wrong option."""
    with pytest.raises(ConfigError, match="ENTREPOT_DATA: data: expected a path"):
        load({}, {"ENTREPOT_DATA": "\0"})


def test_wrong_value_counts_even_where_another_wins(toml: Toml) -> None:
    """A file is right or wrong by itself."""
    with pytest.raises(ConfigError, match="size"):
        load({**toml('size = "big"'), "size": "1GiB"})


@pytest.mark.parametrize(
    "given",
    [
        {"listen": ":5000", "mirror": [":5000"]},
        {"mirror": [":5000=docker.io", ":5000=ghcr.io"]},
    ],
)
def test_two_do_not_listen_on_one_address(given: dict[str, str | list[str]]) -> None:
    """It is said before anything is made."""
    with pytest.raises(ConfigError, match="mirror: two are to listen on :5000"):
        load_config(given, {}, HOME, False)  # noqa: FBT003


@pytest.mark.parametrize("text", ["listen", 'listen = "', "listen = ':1'\nlisten = ':2'", "= 1"])
def test_malformed_file_is_named(text: str, toml: Toml) -> None:
    """A file that is not TOML is an error with its name and the place."""
    options = toml(text)
    with pytest.raises(ConfigError, match="not a TOML file") as caught:
        load(options)
    assert options["config"] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    """TOML is UTF-8, and a file that is not says so."""
    file = tmp_path / "latin1.toml"
    file.write_bytes(b'data = "/\xe9"')
    with pytest.raises(ConfigError, match=f"{file} is not a TOML file"):
        load({"config": str(file)})


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or is a folder, is an error with its name and the reason."""
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}/none: No such file"):
        load({"config": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}: Is a directory"):
        load({"config": str(tmp_path)})


def test_registry_is_a_list_or_a_table(toml: Toml) -> None:
    """A table's hosts are intercepted like listed ones, and it may hold accounts."""
    ghcr = HostPort("ghcr.io")
    assert load(toml('registry = ["ghcr.io"]')).registry == (ghcr,)
    file = toml('[registry."ghcr.io"]\n[registry."docker.io"]\nclients = "10.0.0.0/8"')
    hub = (HostPort("registry-1.docker.io"), HostPort("index.docker.io"))
    config = load(file)
    assert config.registry == (ghcr, *hub)
    assert [table.key for table in config.accounts] == ["ghcr.io", "docker.io"]
    # The option replaces the list, and takes no account away.
    config = load({**file, "registry": ["quay.io", "ghcr.io"]})
    assert config.registry == (HostPort("quay.io"), ghcr, *hub)
    assert len(config.accounts) == 2


def test_a_password_in_the_file_needs_a_file_of_ones_own(toml: Toml) -> None:
    """Where others can read the file, the error names it and quotes no password."""
    file = toml(f'[registry."ghcr.io"]\nusername = "fleet"\npassword = "{SECRET}"')
    path = Path(file["config"])
    for mode in (0o644, 0o604, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"^{path}: registry: 'ghcr.io': .*0600") as raised:
            load(file)
        assert SECRET not in "".join(traceback.format_exception(raised.value))
    path.chmod(0o600)
    config = load(file)
    assert config.accounts[0].accounts[0][1].password == SECRET
    assert SECRET not in repr(config)


@pytest.mark.parametrize("spec", ["@/etc/htpasswd", "any", "joe:secret", "ldaps:a:b:c:d"])
def test_proxyauth_is_mitmproxys(spec: str) -> None:
    """A file, one login, or a directory; the error quotes nothing of it."""
    assert load({"proxyauth": spec}).proxyauth == spec
    assert spec not in repr(load({"proxyauth": spec}))


@pytest.mark.parametrize("spec", ["", "@", SECRET, f":{SECRET}", f"joe:{SECRET}:x"])
def test_a_wrong_proxyauth_is_not_quoted(spec: str) -> None:
    """A password may stand in it."""
    with pytest.raises(ConfigError, match="proxyauth: expected @FILE") as raised:
        load({"proxyauth": spec})
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_password_of_the_proxy_stands_where_nobody_else_reads(toml: Toml) -> None:
    """As for accounts; a file's name may stand anywhere."""
    file = toml(f'proxyauth = "joe:{SECRET}"')
    Path(file["config"]).chmod(0o644)
    with pytest.raises(
        ConfigError, match="holds the password of proxyauth and others can read it"
    ) as e:
        load(file)
    assert SECRET not in str(e.value)
    Path(file["config"]).chmod(0o600)
    assert load(file).proxyauth == f"joe:{SECRET}"
    file = toml('proxyauth = "@/etc/x:y"')
    Path(file["config"]).chmod(0o644)
    assert load(file).proxyauth == "@/etc/x:y"


def test_a_wrong_registry_table_is_one_clear_line(toml: Toml) -> None:
    """The file, the registry and the key are named."""
    file = toml('[registry."ghcr.io"]\nusrname = "fleet"')
    with pytest.raises(ConfigError, match=r"registry: 'ghcr\.io': unknown key 'usrname', did you"):
        load(file)
