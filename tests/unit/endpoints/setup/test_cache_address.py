"""What a client may name as the cache's address: it is written into scripts that run as root."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.endpoints.setup.cache_address import CacheAddress

HARMLESS = re.compile(r"[a-z0-9._-]+:[0-9]{1,5}|\[[0-9a-f:.]+\]:[0-9]{1,5}")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("cache:3128", "http://cache:3128"),
        ("CACHE.Example.COM:3128", "http://cache.example.com:3128"),
        ("cache.example.com.:3128", "http://cache.example.com:3128"),
        ("10.0.0.7:3128", "http://10.0.0.7:3128"),
        ("[2001:DB8::7]:3128", "http://[2001:db8::7]:3128"),
        ("[::1]", "http://[::1]:80"),
        ("cache", "http://cache:80"),
    ],
)
def test_a_host_field_is_an_address(host: str, url: str) -> None:
    """Any way to name the machine becomes the proxy's URL, which always has its port."""
    assert CacheAddress.parse(host).url == url


@pytest.mark.parametrize("host", ["cache:5000", "cache"])
def test_asked_at_another_port_the_proxys_own_counts(host: str) -> None:
    """Who asks a mirror gets the port of the proxy."""
    assert str(CacheAddress.parse(host, 3128)) == "cache:3128"


HOSTILE = [
    *("", " ", ":", ":3128", "cache:", "cache:0", "cache:65536", "cache:999999", "cache:3128:1"),
    *("a b", "a\tb", "a\nb", "a\r\nb", "a\0b", "cache:31\n28", "cache:3128\n", " cache"),
    *("$(id)", "`id`", "a;id", "a|id", "a&id", "a'b", 'a"b', "a\\b", "a#b", "a{b}", "@{proxy}"),
    *("a/b", "a?b", "u@a", "u:p@a:1", "http://a", "<script>", "a,b", "a%0Ab", "%s", "{{ a }}"),
    *("2001:db8::7", "[::1", "::1]", "[]", "[x]", "[::1%eth0]", "[::1]x", "[$(id)]:3128"),
    *(
        "-a",
        "a-",
        "--proxy",
        ".",
        "..",
        "a..b",
        "127.1",
        "0x7f.1",
        "ka\u0308se",
        "\uff41",
        "a" * 254,
    ),
    *("a." * 200 + "b", "a" * 64, "a" * 100_000, "1" * 5000, "cache:" + "1" * 5000),
]


@pytest.mark.parametrize("host", HOSTILE, ids=lambda host: repr(host[:20]))
def test_all_else_is_none(host: str) -> None:
    """Nothing that a shell, YAML, TOML or a URL would take for more than text."""
    with pytest.raises(ValueError, match="expected"):
        CacheAddress.parse(host)


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=30) | st.sampled_from(HOSTILE))
def test_what_is_an_address_needs_no_quotes(text: str) -> None:
    """Whatever is taken consists of characters that mean nothing to a shell."""
    try:
        address = CacheAddress.parse(text)
    except ValueError:
        return
    assert HARMLESS.fullmatch(str(address))
