"""YAML as text, lists and sections: what a scalar stays, and what is refused without a quote."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config.strict_yaml import LARGEST, Plain, read

SECRET = "hunter2"  # noqa: S105 it must never be seen again


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 012", {"a": "012"}),
        ("a: 168h\nb: 5.0\nc: on\nd: true", {"a": "168h", "b": "5.0", "c": "on", "d": "true"}),
        ("a: 2026-01-01\nb: 1e5\nc: =", {"a": "2026-01-01", "b": "1e5", "c": "="}),
        ("a: '~'\nb: ~\nc:\nd: null", {"a": "~", "b": None, "c": None, "d": None}),
        ('a: "x\\ty"\nb: |\n  two\n  lines\n', {"a": "x\ty", "b": "two\nlines\n"}),
        ("{a: {b: [c, 1]}}", {"a": {"b": ["c", "1"]}}),
        ("a: !!str 1", {"a": "1"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": "1"}, "c": {"b": "1"}}),
        ("%YAML 1.1\n---\na: 0o7\n", {"a": "0o7"}),
        ("1: a", {"1": "a"}),
    ],
)
def test_it_is_text_lists_and_sections(text: str, plain: Plain) -> None:
    assert read(text) == plain


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"a: *{SECRET}", "line 1, column 4"),
        (f"a: [{SECRET}", "line 1, column"),
        (f"a: {SECRET}: b", "line 1, column 11"),
        (f"a: @{SECRET}", "line 1, column 4"),
        (f'a: "{SECRET}\\q"', "line 1, column"),
        (f"a: 1\n\tb: {SECRET}", "line 2, column"),
        (f"---\na: 1\n---\nb: {SECRET}", "line 3, column 1"),
        (f"a: !!python/object/apply:os.system [{SECRET}]", "line 1, column 4"),
        (f"a: !{SECRET} 1", "line 1, column 4"),
        ("a: !!binary aGk=", "line 1, column 4"),
        (f"a: &a [{SECRET}, *a]", "line 1, column 4"),
        (f"<<: {{a: {SECRET}}}", "line 1, column 1"),
        (f"a: {SECRET}\na: {SECRET}", "line 2, column 1"),
        (f"[{SECRET}]: b", "line 1, column 1"),
        (f"a: {SECRET}\x00", "control characters"),
        (f"a: {SECRET}\ud800", "control characters"),
        (f"%YAML 9.9\n---\na: {SECRET}", "line 1, column 1"),
        ("[" * 9000, "nested too deep"),
        ("a: 1\n" * LARGEST, "at most"),
    ],
)
def test_what_is_refused_is_placed_and_not_quoted(text: str, where: str) -> None:
    """A scalar that starts like an alias, a tag or a directive may be a password."""
    with pytest.raises(ValueError, match=where) as refused:
        read(text)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_aliases_do_not_multiply() -> None:
    """Nine aliases of nine aliases and so on are nine lists, not 9**9 (the billion laughs)."""
    names = "abcdefghi"
    lines = [f"a: &a [{', '.join('x' * 9)}]"]
    lines += [
        f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]"
        for before, name in itertools.pairwise(names)
    ]
    plain = read("\n".join(lines))
    assert isinstance(plain, dict)
    innermost = plain["i"]
    for _ in names[1:]:
        assert isinstance(innermost, list)
        assert all(item is innermost[0] for item in innermost)
        innermost = innermost[0]
    assert innermost == ["x"] * 9


@given(st.text(alphabet=st.sampled_from("ab:-?[]{}&*!|>'\"%@`,#~<=\\ \t\n\r1."), max_size=60))
def test_nothing_but_value_error(text: str) -> None:
    """Whatever the text, it is read or refused."""
    with contextlib.suppress(ValueError):
        read(text)
