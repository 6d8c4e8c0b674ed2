"""A `config.yml` of registry:2: what of it is taken over, what is named, what is refused."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from entrepot.auth.accounts import Accounts
from entrepot.config.addresses import Listen
from entrepot.config.distribution_config import read_distribution_config
from entrepot.config.load import load_config
from entrepot.config.mirror_spec import Mirror
from entrepot.config.settings import Config, ConfigError, ConfigFile
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import HostPort, Origin

SECRET = "hunter2"  # noqa: S105 it must never be seen again
ARTICLE = """
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
proxy:
  remoteurl: https://registry-1.docker.io
  username: fleet
  password: hunter2
  ttl: 168h
"""
NO_VARIABLES: Mapping[str, str] = {}
HUB = "proxy: {remoteurl: https://registry-1.docker.io}\n"


def load(
    folder: Path, text: str, environ: Mapping[str, str] = NO_VARIABLES, *, mode: int = 0o600
) -> ConfigFile:
    file = folder / "config.yml"
    file.write_text(text)
    file.chmod(mode)
    return read_distribution_config(file, environ)


def test_the_articles_file(tmp_path: Path) -> None:
    """All of it is taken over or named, and no secret shows."""
    config = load(tmp_path, ARTICLE)
    assert config.values == {
        "mirror": ":5000=docker.io",
        "data": "/var/lib/registry/entrepot",
        "registry": {"docker.io": {"username": "fleet", "password": SECRET}},
    }
    assert config.unused == (
        *("log", "storage.cache", "storage.delete", "http.headers", "health", "proxy.ttl"),
    )
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("text", "values", "unused"),
    [
        # The image's own file, with the section that makes it a cache.
        (
            "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n"
            "    blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: /var/lib/registry\n"
            "http:\n  addr: :5000\n  headers:\n    X-Content-Type-Options: [nosniff]\n"
            "health:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n"
            + HUB,
            {"mirror": ":5000=docker.io", "data": "/var/lib/registry/entrepot"},
            "log storage.cache http.headers health",
        ),
        # Kubernetes: another registry, redis, a secret, an empty login.
        (
            (
                "version: '0.1'\nlog: {level: info, formatter: json}\nredis: {addr: 'redis:6379'}\n"
                "http: {addr: '0.0.0.0:5000', secret: hunter2, debug: {addr: ':5001'}}\n"
                "storage: {redirect: {disable: true}, filesystem: {rootdirectory: /cache/,\n"
                "  maxthreads: 100}, maintenance: {uploadpurging: {enabled: false}}}\n"
                "proxy: {remoteurl: 'https://ghcr.io/', username: '', password: ''}\n"
            ),
            {"mirror": "0.0.0.0:5000=ghcr.io", "data": "/cache/entrepot"},
            (
                "log redis http.secret http.debug storage.redirect storage.filesystem.maxthreads "
                "storage.maintenance"
            ),
        ),
        # Storage elsewhere: our data goes where it goes without the file.
        (
            "storage: {s3: {accesskey: AK, secretkey: hunter2, bucket: b}}\n" + HUB,
            {"mirror": ":5000=docker.io"},
            "storage.s3",
        ),
        ("storage: inmemory\n" + HUB, {"mirror": ":5000=docker.io"}, "storage.inmemory"),
        (
            "storage: filesystem\n" + HUB,
            {"mirror": ":5000=docker.io", "data": "/var/lib/registry/entrepot"},
            "",
        ),
        (
            (
                "http: {addr: '[::1]:6000', net: tcp, host: 'https://mirror.example',\n"
                "  relativeurls: true, prefix: /, http2: {disabled: true}}\nnotifications: {}\n"
                "proxy: {remoteurl: 'HTTPS://Registry.Corp.Example:5000/v2/', ttl: 0}\n"
            ),
            {"mirror": "[::1]:6000=registry.corp.example:5000"},
            "http.host http.relativeurls http.prefix http.http2 notifications proxy.ttl",
        ),
        (
            "proxy: {remoteurl: 'http://10.0.0.5:5000', username: 0123, password: 0456}\n",
            {
                "mirror": ":5000=http://10.0.0.5:5000",
                "registry": {"http://10.0.0.5:5000": {"username": "0123", "password": "0456"}},
            },
            "",
        ),
        ("auth: {none: }\n" + HUB, {"mirror": ":5000=docker.io"}, "auth"),
        (
            "http: {tls: {certificate: '', key: }}\n" + HUB,
            {"mirror": ":5000=docker.io"},
            "http.tls",
        ),
        ("proxy: {remoteurl: https://index.docker.io}", {"mirror": ":5000=docker.io"}, ""),
        ("proxy: {remoteurl: https://docker.io:443}", {"mirror": ":5000=docker.io"}, ""),
        (f"? '{SECRET} {SECRET}'\n" + HUB, {"mirror": ":5000=docker.io"}, "?"),
    ],
)
def test_what_is_taken_over_and_what_is_named(
    tmp_path: Path, text: str, values: Mapping[str, object], unused: str
) -> None:
    """Files as they are found: keys that do not apply are named, never their values."""
    config = load(tmp_path, text)
    assert config.values == values
    assert config.unused == tuple(unused.split())


def test_the_environment_alone(tmp_path: Path) -> None:
    """Who sets only variables of the container gives an empty file."""
    environ = {
        "REGISTRY_PROXY_REMOTEURL": "https://quay.io",
        "REGISTRY_PROXY_USERNAME": "fleet",
        "REGISTRY_PROXY_PASSWORD": SECRET,
        "REGISTRY_HTTP_ADDR": "10.0.0.5:80",
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/srv/cache",
        "REGISTRY_STORAGE_DELETE_ENABLED": "true",
        "REGISTRY_LOG_LEVEL": "debug",
        "REGISTRY_PROXY_TTL": "",
        "REGISTRY_PORT_5000_TCP": "tcp://10.0.0.1:5000",  # Kubernetes, for a service `registry`
        "HOME": "/root",
    }
    config = load(tmp_path, "", environ)
    assert config.values == {
        "mirror": "10.0.0.5:80=quay.io",
        "data": "/srv/cache/entrepot",
        "registry": {"quay.io": {"username": "fleet", "password": SECRET}},
    }
    assert sorted(config.unused) == ["REGISTRY_LOG_LEVEL", "REGISTRY_STORAGE_DELETE_ENABLED"]


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """As in distribution; an empty variable takes a value away."""
    environ = {
        "REGISTRY_PROXY_REMOTEURL": "https://quay.io",
        "REGISTRY_PROXY_USERNAME": "",
        "REGISTRY_PROXY_PASSWORD": "",
    }
    changed = load(tmp_path, ARTICLE, environ)
    assert changed.values == {
        "mirror": ":5000=quay.io",
        "data": "/var/lib/registry/entrepot",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "proxy.remoteurl is not set: this is the file of a registry"),
        (ARTICLE.partition("proxy:")[0], "proxy.remoteurl is not set"),
        ("proxy:\n  ttl: 1h\n", "proxy.remoteurl is not set"),
        ("- proxy", "the file: expected a section, got a list"),
        ("hunter2", "the file: expected a section, got text"),
        ("proxy: hunter2", "proxy: expected a section, got text"),
        ("proxy: {remoteurl: [hunter2]}", "proxy.remoteurl: expected text, got a list"),
        (HUB + "http: [hunter2]", "http: expected a section, got a list"),
        (HUB + "http: {addr: {hunter2: 1}}", "http.addr: expected text, got a section"),
        (HUB + "http: {addr: 5000}", "http.addr: expected :PORT or HOST:PORT"),
        (HUB + "http: {addr: /run/r.sock, net: unix}", "http.net: expected tcp, got 'unix'"),
        (HUB + "storage: {filesystem: hunter2}", "storage.filesystem: expected a section"),
        (HUB + "version: 0.2", "version: expected 0.1, got '0.2'"),
        ("proxy: {remoteurl: 'https://joe:hunter2@r.example'}", "the login in proxy.username"),
        ("proxy: {remoteurl: 'https://r.example/hunter2/'}", "expected https://HOST"),
        ("proxy: {remoteurl: 'https://r.example?t=hunter2'}", "expected https://HOST"),
        ("proxy: {remoteurl: r.example}", "expected https://HOST"),
        ("proxy: {remoteurl: 'ftp://r.example'}", "expected https://HOST"),
        ("proxy: {remoteurl: 'https://r.example:x'}", "proxy.remoteurl: expected HOST"),
        ("proxy: {remoteurl: 'https://r.example', password: hunter2}", "both username and pass"),
        ("proxy: {remoteurl: 'https://r.example', username: hunter2}", "both username and pass"),
        ("proxy: {remoteurl: 'https://r.example', username: [hunter2]}", "proxy.username: exp"),
        (HUB + "auth: {htpasswd: {realm: r, path: /hunter2}}", "auth: clients cannot be asked"),
        (HUB + "auth: silly", "auth: clients cannot be asked"),
        (HUB + "http: {tls: {certificate: /hunter2, key: k}}", "http.tls: the mirror speaks"),
        (HUB + "http: {tls: {letsencrypt: {hosts: [hunter2]}}}", "http.tls: the mirror speaks"),
        (HUB + "redis: {password: *hunter2}", "something is wrong at line 2, column 19"),
        (HUB + "redis: !!python/object:hunter2 {}", "stands at line 2, column 8"),
    ],
)
def test_what_is_refused_is_one_line_without_secrets(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    line = str(refused.value)
    assert line.startswith(f"{tmp_path}/config.yml: ")
    assert said in line
    assert SECRET not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REGISTRY_AUTH", "htpasswd", "auth: "),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth", "auth: "),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c.pem", "http.tls: "),
        ("REGISTRY_PROXY_REMOTEURL", "", "proxy.remoteurl is not set"),
        ("REGISTRY_PROXY_USERNAME", SECRET, "both username and password"),
    ],
)
def test_what_the_environment_says_is_refused_alike(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        load(tmp_path, HUB, {name: value})
    assert SECRET not in str(refused.value)


def test_a_password_needs_a_file_of_ones_own(tmp_path: Path) -> None:
    """Others must not be able to read it; a file without a password may be open."""
    with pytest.raises(ConfigError, match=r"others can read it: chmod 600 .*/config.yml"):
        load(tmp_path, ARTICLE, mode=0o644)
    assert load(tmp_path, HUB, mode=0o644).values["mirror"] == ":5000=docker.io"
    environ = {"REGISTRY_PROXY_USERNAME": "fleet", "REGISTRY_PROXY_PASSWORD": SECRET}
    assert "registry" in load(tmp_path, HUB, environ, mode=0o644).values


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not there, a folder, in another encoding, without end."""
    for file, said in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "larger than 64 KiB"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_distribution_config(file, {})
    (tmp_path / "latin").write_bytes("log: \xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        read_distribution_config(tmp_path / "latin", {})


def configure(folder: Path, text: str, given: Mapping[str, str], **environ: str) -> Config:
    load(folder, text)
    options = {"registry_config": str(folder / "config.yml"), **given}
    return load_config(options, environ, Path("/home/me"), True)  # noqa: FBT003


def account_of(config: Config, host: str) -> Account | None:
    return Accounts(config.accounts).of(Origin("https", host, 443), "library/redis", "10.0.0.1")


def test_it_becomes_a_mirror_with_an_account(tmp_path: Path) -> None:
    """The configuration that the options would give, and the usual listener beside it."""
    config = configure(tmp_path, ARTICLE, {})
    assert config.mirror == (Mirror.parse(":5000=docker.io"),)
    assert config.listen == Listen("", 3128)
    assert config.data == Path("/var/lib/registry/entrepot")
    assert account_of(config, "registry-1.docker.io") == Account("fleet", SECRET)
    assert HostPort("registry-1.docker.io") in config.registry
    assert "proxy.ttl" in config.unused
    assert SECRET not in repr(config)


def test_our_own_options_win(tmp_path: Path) -> None:
    """Command line, ENTREPOT_DATA, our file; an account of ours counts instead of the file's."""
    toml = tmp_path / "entrepot.toml"
    toml.write_text(
        'size = "1GiB"\nmirror = ":7000"\n'
        '[registry."index.docker.io"]\nusername = "acme"\npassword_env = "ACME"\n'
    )
    given = {"config": str(toml)}
    config = configure(tmp_path, ARTICLE, given, ACME="pw", ENTREPOT_DATA="/environment")
    assert config.mirror == (Mirror.parse(":7000"),)
    assert (config.data, config.size) == (Path("/environment"), 2**30)
    assert account_of(config, "index.docker.io") == Account("acme", "pw")
    assert account_of(config, "registry-1.docker.io") is None
    given = {"mirror": ":8000=ghcr.io", "data": "/given"}
    config = configure(tmp_path, ARTICLE, given, ENTREPOT_DATA="/environment")
    assert (config.mirror, config.data) == ((Mirror.parse(":8000=ghcr.io"),), Path("/given"))


def test_our_own_file_may_name_it(tmp_path: Path) -> None:
    """An option like any other."""
    load(tmp_path, ARTICLE)
    toml = tmp_path / "entrepot.toml"
    toml.write_text(f'registry_config = "{tmp_path}/config.yml"\n')
    config = load_config({"config": str(toml)}, {}, Path("/home/me"), True)  # noqa: FBT003
    assert config.mirror == (Mirror.parse(":5000=docker.io"),)


def test_without_one_nothing_of_it_counts(tmp_path: Path) -> None:
    """The variables of the container are read only with a file."""
    environ = {"REGISTRY_PROXY_REMOTEURL": "https://quay.io"}
    config = load_config({}, environ, tmp_path, True)  # noqa: FBT003
    assert (config.mirror, config.unused) == ((), ())


def test_a_login_that_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    """What Basic cannot carry is said as for our own tables, without the password."""
    text = f"proxy: {{remoteurl: 'https://r.example', username: 'a:b', password: {SECRET}}}"
    with pytest.raises(ConfigError, match="username: expected one without a colon") as refused:
        configure(tmp_path, text, {})
    assert SECRET not in str(refused.value)
