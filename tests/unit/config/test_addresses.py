"""Where to listen and what to connect to, as options say it."""

import pytest

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":3128", Listen("", 3128)),
        (":0", Listen("", 0)),
        ("127.0.0.1:0", Listen("127.0.0.1", 0)),
        ("Proxy.local:8080", Listen("proxy.local", 8080)),
        ("[::]:3128", Listen("::", 3128)),
    ],
)
def test_listen_is_read(text: str, expected: Listen) -> None:
    """No host means all addresses, port 0 any free one."""
    assert Listen.parse(text) == expected
    assert Listen.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", ":", "3128", "localhost", "::3128", ":65536", ":-1", "a b:1", "http://a:1", ":00"]
)
def test_listen_is_refused(text: str) -> None:
    """A listen address without a port, or with a bad one, is an error."""
    with pytest.raises(ValueError, match="expected"):
        Listen.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghcr.io:443:127.0.0.1", Resolve("ghcr.io", 443, "127.0.0.1", 443)),
        ("GHCR.io:443:127.0.0.1:5000", Resolve("ghcr.io", 443, "127.0.0.1", 5000)),
        ("ghcr.io:443:[::1]", Resolve("ghcr.io", 443, "::1", 443)),
        ("ghcr.io:443:[::1]:5000", Resolve("ghcr.io", 443, "::1", 5000)),
        ("ghcr.io:443:::1", Resolve("ghcr.io", 443, "::1", 443)),
        ("ghcr.io:443:2001:db8::5000", Resolve("ghcr.io", 443, "2001:db8::5000", 443)),
        ("[::2]:80:127.0.0.1", Resolve("::2", 80, "127.0.0.1", 80)),
    ],
)
def test_resolve_is_read(text: str, expected: Resolve) -> None:
    """An address for a host and port, as curl's --resolve has it, and perhaps another port."""
    assert Resolve.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io",
        "ghcr.io:443",
        "ghcr.io:443:",
        "ghcr.io:443:localhost",
        "ghcr.io:443:dead",
        "ghcr.io:443:127.0.0.1:",
        "ghcr.io:443:127.0.0.1:0",
        "ghcr.io:443:127.1",
        "ghcr.io:443:[127.0.0.1]",
        "ghcr.io:443:[::1",
        "ghcr.io:443:fe80::1%eth0",
        "ghcr.io:0:127.0.0.1",
        "ghcr.io:x:127.0.0.1",
        ":443:127.0.0.1",
        "*:443:127.0.0.1",
        "+ghcr.io:443:127.0.0.1",
    ],
)
def test_resolve_is_refused(text: str) -> None:
    """What is no HOST:PORT:ADDR[:PORT] with a literal address is an error."""
    with pytest.raises(ValueError, match="expected"):
        Resolve.parse(text)


@pytest.mark.parametrize(
    ("text", "url", "credentials"),
    [
        ("http://proxy.corp:3128", "http://proxy.corp:3128", (None, None)),
        ("http://proxy.corp/", "http://proxy.corp:80", (None, None)),
        ("HTTPS://Proxy.corp", "https://proxy.corp:443", (None, None)),
        ("http://[::1]:8080", "http://[::1]:8080", (None, None)),
        ("http://me@p:1", "http://p:1", ("me", "")),
        ("http://me:s%40c%3aret@p:1", "http://p:1", ("me", "s@c:ret")),
        ("http://me:a:b/c?d#e@p:1", "http://p:1", ("me", "a:b/c?d#e")),
        ("http://m%C3%BC:x@p:1", "http://p:1", ("mü", "x")),
    ],
)
def test_upstream_proxy_is_read(
    text: str, url: str, credentials: tuple[str | None, str | None]
) -> None:
    """A proxy is a URL whose port defaults by scheme and whose credentials are decoded."""
    proxy = UpstreamProxy.parse(text)
    assert (proxy.url, (proxy.username, proxy.password)) == (url, credentials)


def test_upstream_proxy_authorizes_by_basic() -> None:
    """Credentials become a Basic value (RFC 7617's own example); none become nothing."""
    proxy = UpstreamProxy.parse("http://Aladdin:open%20sesame@p")
    assert proxy.authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert UpstreamProxy.parse("http://p").authorization is None
