"""Header fields: read as RFC 9110 has them, in linear time, whatever is sent."""

import time
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.headers import (
    Challenge,
    ContentRange,
    etag_matches,
    normalise_accept,
    parse_challenges,
)

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
HUB_PARAMS = {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}


@given(st.integers(0, 10**18), st.integers(0, 10**6), st.none() | st.integers(1, 10**6))
def test_content_range_round_trips(first: int, length: int, rest: int | None) -> None:
    """A Content-Range prints as it is read."""
    last = first + length
    content_range = ContentRange(first, last, None if rest is None else last + rest)
    assert ContentRange.parse(str(content_range)) == content_range


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes */100",
        "bytes 0-99",
        "bytes 0-/100",
        "bytes -99/100",
        "bytes 1-0/100",
        "bytes 0-100/100",
        "bytes=0-99/100",
        "items 0-99/100",
        "bytes 0-99/-1",
        "bytes 0-99/100, bytes 0-99/100",
        "bytes 0-99/" + "9" * 20,
        "bytes 0-\N{ARABIC-INDIC DIGIT ONE}/100",
    ],
)
def test_content_range_refuses_all_else(value: str) -> None:
    """A 206 whose place is not certain must not be spliced into a file."""
    with pytest.raises(ValueError, match="expected"):
        ContentRange.parse(value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "*/*"),
        ([""], "*/*"),
        ([" , ,"], "*/*"),
        (["*/*"], "*/*"),
        ([MANIFEST, INDEX], f"{INDEX},{MANIFEST}"),
        ([f"{INDEX}, {MANIFEST}"], f"{INDEX},{MANIFEST}"),
        ([f"{MANIFEST},{INDEX}", INDEX], f"{INDEX},{MANIFEST}"),
        ([INDEX.upper()], INDEX),
        ([f"{INDEX};q=0.5 ; charset=utf-8,\t{MANIFEST}; q=1"], f"{INDEX},{MANIFEST}"),
        ([f"{INDEX};q=0, {MANIFEST}"], MANIFEST),
        ([f"{INDEX};Q=0.000, {MANIFEST};q=0.001"], MANIFEST),
        ([f"{INDEX};x=1;q=0;y=2"], "*/*"),
        ([f'{INDEX};x="a,b;q=0,";q=1,{MANIFEST}'], f"{INDEX},{MANIFEST}"),
        ([f'{INDEX};x="\\",a/b",{MANIFEST}'], f"{INDEX},{MANIFEST}"),
        ([f'{INDEX};x="open,{MANIFEST}'], INDEX),
        (["text, a b/c, \N{KELVIN SIGN}/x"], "text"),
    ],
)
def test_accept_has_one_spelling(values: list[str], expected: str) -> None:
    """Order, lines, repetition, case and parameters make no other Accept."""
    assert normalise_accept(values) == expected


ELEMENTS = st.lists(
    st.sampled_from(["a/b", "A/b", "c/d;q=0", "c/d", "*/*", 'e/f;x=","', 'g"', "\\", " ", "é"])
)


@given(st.lists(ELEMENTS.map(",".join) | st.text()))
def test_normalised_accept_is_stable(values: list[str]) -> None:
    """Any Accept normalises, and its normal form to itself."""
    normal = normalise_accept(values)
    assert normalise_accept([normal]) == normal
    assert normal.isascii()


@given(st.permutations([MANIFEST, INDEX, "a/b", "c/d"]), st.integers(0, 4))
def test_accept_order_and_lines_do_not_count(types: list[str], cut: int) -> None:
    """However the types are spread over lines, the key is the same."""
    lines = [", ".join(types[:cut]), ", ".join(types[cut:])]
    assert normalise_accept(lines) == ",".join(sorted(types))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        ([HUB], [("bearer", HUB_PARAMS)]),
        (['BASIC realm="Sonatype"'], [("basic", {"realm": "Sonatype"})]),
        (["Negotiate"], [("negotiate", {})]),
        ([f'{HUB}, Basic realm="x"'], [("bearer", HUB_PARAMS), ("basic", {"realm": "x"})]),
        ([HUB, "Negotiate"], [("bearer", HUB_PARAMS), ("negotiate", {})]),
        (["Negotiate abc==, Basic"], [("negotiate", {}), ("basic", {})]),
        (["Negotiate abc, Basic Realm = x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            ['Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"'],
            [
                ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
                ("basic", {"realm": "simple"}),
            ],
        ),
        (['Bearer scope="a:b:pull,push"'], [("bearer", {"scope": "a:b:pull,push"})]),
        (['Bearer realm="a",realm="b"'], [("bearer", {"realm": "a"})]),
        (
            ['Bearer realm="Basic realm=x, Digest"'],
            [("bearer", {"realm": "Basic realm=x, Digest"})],
        ),
        ([',, Bearer ,realm="a" ,,service="b",'], [("bearer", {"realm": "a", "service": "b"})]),
    ],
)
def test_challenges_are_read(
    values: list[str], expected: list[tuple[str, Mapping[str, str]]]
) -> None:
    """Several challenges to a line, quoted strings and token68 are told apart."""
    assert [(c.scheme, c.params) for c in parse_challenges(values)] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('realm="x"', []),
        ('Bearer realm="a" service="b"', [("bearer", {"realm": "a", "service": "b"})]),
        (
            "Bearer realm=https://a/token,service=b",
            [("bearer", {"realm": "https://a/token", "service": "b"})],
        ),
        ('Bearer realm="open, Basic realm="x"', [("bearer", {"realm": "open, Basic realm="})]),
        ('Bearer service="a", realm="open', [("bearer", {"service": "a"})]),
        ('Bearer realm="open\\', [("bearer", {})]),
        ('Bearer realm=, service="a"', [("bearer", {"service": "a"})]),
        ('Bearer (x), realm="a"', [("bearer", {"realm": "a"})]),
        ('"Basic", Bearer realm="a"', [("bearer", {"realm": "a"})]),
        ("\0\xff, Basic", [("basic", {})]),
    ],
)
def test_malformed_challenges_give_what_can_be_read(
    value: str, expected: list[tuple[str, Mapping[str, str]]]
) -> None:
    """A broken challenge is cut where it breaks, and what is quoted is never taken for one."""
    assert [(c.scheme, c.params) for c in parse_challenges([value])] == expected


@given(st.lists(st.text() | st.text('aB =,"\\/;\t=x')))
def test_challenges_never_raise(values: list[str]) -> None:
    """Any lines have challenges, perhaps none, in lower case."""
    for challenge in parse_challenges(values):
        assert isinstance(challenge, Challenge)
        assert challenge.scheme == challenge.scheme.lower() != ""


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.text()))
def test_quoted_parameters_round_trip(params: dict[str, str]) -> None:
    """Whatever stands in a quoted-string comes out as it went in."""
    quoted = (
        name + '="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for name, text in params.items()
    )
    (challenge,) = parse_challenges(["Bearer " + ", ".join(quoted)])
    assert challenge.params == params


@pytest.mark.parametrize(
    ("if_none_match", "etag", "matches"),
    [
        ("*", '"a"', True),
        (" * ", '"a"', True),
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('W/"a"', 'W/"a"', True),
        ('"b", W/"a" ,"c"', '"a"', True),
        ('"a,b"', '"a,b"', True),
        ('"x\\"', '"x\\"', True),
        ("", '"a"', False),
        ('"A"', '"a"', False),
        ('"b"', '"a"', False),
        ('"a', '"a"', False),
        ("a", '"a"', False),
        ('"*"', '"a"', False),
        ('"a,b"', '"a"', False),
    ],
)
def test_etag_matches_weakly(if_none_match: str, etag: str, *, matches: bool) -> None:
    """If-None-Match compares opaque tags only, in lists too; `*` matches whatever is there."""
    assert etag_matches(if_none_match, etag) is matches


@given(st.text(), st.text())
def test_etag_never_raises(if_none_match: str, etag: str) -> None:
    """Any field can be compared."""
    etag_matches(if_none_match, etag)


HOSTILE = [
    '"',
    '\\"',
    '"\\',
    "a=",
    'a="',
    "a ",
    " ",
    ",",
    "=",
    "a/b;",
    'W/"',
    "a",
    ';q=0"',
    "-",
    "(",
]
PARSERS: list[Callable[[str], object]] = [
    lambda value: normalise_accept([value]),
    lambda value: parse_challenges([value]),
    lambda value: parse_challenges(["Bearer " + value + "("]),
    lambda value: etag_matches(value, '"a"'),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_lengths_take_linear_time(piece: str) -> None:
    """A header of 200 kB, far over what mitmproxy takes, is read in well under a second."""
    value = piece * (200_000 // len(piece))
    started = time.process_time()
    for parse in PARSERS:
        parse(value)
    assert time.process_time() - started < 2
