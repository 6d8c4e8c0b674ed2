"""What NO_PROXY means: which hosts are reached without the upstream proxy."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config.no_proxy import NoProxyEntry, is_direct, parse_no_proxy

TABLE = [
    ("*", "example.com", 443, True),
    ("example.com", "example.com", 443, True),
    ("example.com", "EXAMPLE.com.", 443, True),
    ("Example.COM.", "example.com", 443, True),
    ("example.com", "a.b.example.com", 443, True),
    ("example.com", "badexample.com", 443, False),
    ("example.com", "example.com.evil", 443, False),
    (".example.com", "a.example.com", 443, True),
    (".example.com", "example.com", 443, False),
    ("*.example.com", "a.example.com", 443, True),
    ("*.example.com", "example.com", 443, False),
    ("example.com:5000", "example.com", 5000, True),
    ("example.com:5000", "a.example.com", 5000, True),
    ("example.com:5000", "example.com", 443, False),
    (".example.com:5000", "a.example.com", 5000, True),
    (".example.com:5000", "a.example.com", 5001, False),
    ("10.1.2.3", "10.1.2.3", 443, True),
    ("10.1.2.3", "10.1.2.30", 443, False),
    ("10.1.2.3:80", "10.1.2.3", 80, True),
    ("10.1.2.3:80", "10.1.2.3", 443, False),
    ("10.0.0.0/8", "10.200.0.1", 443, True),
    ("10.1.2.3/8", "10.200.0.1", 443, True),
    ("10.0.0.0/8", "11.0.0.1", 443, False),
    ("10.0.0.0/8", "10.example.com", 443, False),
    ("10.0.0.0/8", "::ffff:10.1.1.1", 443, True),
    ("2001:db8::1", "[2001:db8:0::1]", 443, True),
    ("[2001:db8::1]", "2001:db8::1", 443, True),
    ("[2001:db8::1]:5000", "2001:db8::1", 5000, True),
    ("[2001:db8::1]:5000", "2001:db8::1", 443, False),
    ("2001:db8::/32", "2001:db8:ffff::1", 443, True),
    ("2001:db8::/32", "10.0.0.1", 443, False),
]


@pytest.mark.parametrize("text", sorted({entry for entry, *_ in TABLE}))
def test_an_entry_is_written_as_it_is_read(text: str) -> None:
    entry = NoProxyEntry.parse(text)
    assert NoProxyEntry.parse(str(entry)) == entry


@pytest.mark.parametrize(("entry", "host", "port", "direct"), TABLE)
def test_an_entry_covers_what_it_means(entry: str, host: str, port: int, direct: bool) -> None:  # noqa: FBT001
    """As Go's programs read it; a name is taken in any spelling."""
    assert is_direct([NoProxyEntry.parse(entry)], host, port) is direct


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_is_never_behind_another_proxy(host: str) -> None:
    """Its own addresses mean another machine to a proxy elsewhere."""
    assert is_direct((), host, 443)
    assert not is_direct((), "registry.localhost", 443)


@pytest.mark.parametrize(
    "text",
    ["", ".", "*.", "..example.com", "*example.com", "a*.com", "http://a", "a b", "a,b", "a:",
     "a:0", "a:x", "10.0.0.0/33", "*.10.0.0.1", "[::1", "fe80::1%eth0:1", "exämple.com"],
)  # fmt: skip
def test_what_is_no_entry_is_refused(text: str) -> None:
    """An option says what it wants, and quotes what it got."""
    with pytest.raises(ValueError, match="expected") as caught:
        NoProxyEntry.parse(text)
    assert repr(text) in str(caught.value)


def test_the_environments_list_is_read_as_others_read_it() -> None:
    """Commas, blanks or both; what is no entry does no harm to the rest."""
    found = parse_no_proxy(" a.example, .b.example\t10.0.0.0/8,,http://no,c.example:5000 ")
    assert found == (
        NoProxyEntry(domain="a.example"),
        NoProxyEntry(domain="b.example", below_only=True),
        NoProxyEntry.parse("10.0.0.0/8"),
        NoProxyEntry(domain="c.example", port=5000),
    )
    assert parse_no_proxy("") == ()


@given(st.text() | st.text("0123456789abc.:/[]*, "), st.text("abc.:10[]*"), st.integers(0, 70000))
def test_nothing_is_raised_but_value_error(text: str, host: str, port: int) -> None:
    """Whatever stands in the environment or in a CONNECT, there is an answer."""
    with contextlib.suppress(ValueError):
        NoProxyEntry.parse(text).covers(host, port)
    assert isinstance(is_direct(parse_no_proxy(text), host, port), bool)


@given(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,3}", fullmatch=True), st.integers(1, 65535))
def test_a_domain_holds_itself_and_all_below(domain: str, port: int) -> None:
    """And with a dot before it all below only."""
    assert is_direct([NoProxyEntry.parse(domain)], domain, port)
    assert is_direct([NoProxyEntry.parse(domain)], f"x.{domain}", port)
    assert is_direct([NoProxyEntry.parse(f".{domain}")], f"x.{domain}", port)
    assert is_direct([NoProxyEntry.parse(f".{domain}")], domain, port) is (domain == "localhost")
    assert not is_direct([NoProxyEntry.parse(domain)], f"x{domain}", port)
