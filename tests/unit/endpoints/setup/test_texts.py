"""The texts are filled in strictly."""

import string

import pytest

from entrepot.endpoints.setup import texts
from entrepot.endpoints.setup.variants import VARIANTS, Variant


def test_a_name_without_a_value_is_an_error() -> None:
    """Not a hole in somebody's settings."""
    with pytest.raises(KeyError):
        texts.fill("buildkitd.toml", {"proxy": "http://cache:3128"})


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
def test_each_place_to_fill_has_braces(variant: Variant) -> None:
    """`@name` is none, so that nothing is filled in that only looks like a place for it."""
    text = texts.read(variant.file)
    for _, _, after in (text[i:].partition("@") for i, c in enumerate(text) if c == "@"):
        assert after[0] in "{@"
        assert after[0] == "@" or after[1] in string.ascii_lowercase


def test_the_script_knows_where_it_came_from() -> None:
    """By one variable, whose value is no more than an address."""
    script = texts.script("cache:3128")
    assert script.count("\nSERVED_BY='cache:3128'\n") == 1
    assert script.startswith("#!/bin/sh\n")
    assert script.endswith('\nmain "$@" </dev/null\n')


@pytest.mark.parametrize("address", ["a'b", "';id;'"])
def test_a_quote_never_comes_into_the_script(address: str) -> None:
    """Should an address ever have one."""
    with pytest.raises(ValueError, match="expected an address"):
        texts.script(address)
