"""The table of options, and the parsers of their values."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config.addresses import Listen, Resolve, UpstreamProxy
from entrepot.config.options import OPTIONS, Option, parse_domain, parse_path
from entrepot.config.settings import Config
from entrepot.config.units import parse_size


@pytest.mark.parametrize("text", ["example.com", "Example.com.", "corp", "a_b.internal"])
def test_domain_is_read(text: str) -> None:
    """A permitted name is a DNS name, in lower case."""
    assert parse_domain(text) == text.lower().rstrip(".")


@pytest.mark.parametrize(
    "text", ["", ".", ".example.com", "*.example.com", "127.0.0.1", "::1", "a b"]
)
def test_domain_is_refused(text: str) -> None:
    """Wildcards and addresses cannot be DNS name constraints."""
    with pytest.raises(ValueError, match="expected a DNS name"):
        parse_domain(text)


@given(st.text() | st.text("0123456789.kmgtibKB :[]/@%"))
def test_parsers_raise_nothing_but_value_error(text: str) -> None:
    """Whatever is written, it is taken or refused, and refused by ValueError alone."""
    parsers: list[Callable[[str], object]] = [
        parse_size,
        parse_path,
        parse_domain,
        Listen.parse,
        Resolve.parse,
        UpstreamProxy.parse,
        lambda text: UpstreamProxy.parse(f"http://{text}@p").authorization,
    ]
    for parse in parsers:
        with contextlib.suppress(ValueError):
            parse(text)


def test_options_are_the_fields_of_config() -> None:
    """Every field has its option (`accounts` is `registry` too, `unused` is of another file)."""
    names = [option.name for option in OPTIONS if option.in_file]
    assert sorted([*names, "accounts", "unused"]) == sorted(Config.__dataclass_fields__)
    option = next(option for option in OPTIONS if option.name == "upstream_ca")
    assert (option.flag, option.mitmproxy) == ("--upstream-ca", "entrepot_upstream_ca")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_option_describes_itself(option: Option) -> None:
    """Each row has a one-line help, and a metavar where it takes a value."""
    assert option.help
    assert "\n" not in option.help
    assert bool(option.metavar) == (option.kind != "flag")
