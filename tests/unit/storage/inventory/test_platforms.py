"""For which platforms an image is, as its own documents say; whatever they say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.storage.inventory import platforms

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["manifests", "config", "digest", "platform", "os", "architecture", "x"]
            ),
            inner,
        )
    ),
)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"os": "linux", "architecture": "amd64"}, ("linux/amd64",)),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, ("linux/arm/v7",)),
        ({"os": "linux", "architecture": "arm64", "variant": ""}, ("linux/arm64",)),
        ({"os": "unknown", "architecture": "unknown"}, ()),
        ({"architecture": "amd64", "variant": "v2"}, ()),
        ({"os": "linux", "architecture": "\x1b[31m"}, ()),
        ({"os": "linux"}, ()),
        ([], ()),
    ],
)
def test_a_configuration_names_a_platform(document: object, said: tuple[str, ...]) -> None:
    assert platforms.of_config(json.dumps(document).encode()) == said


def test_an_index_has_the_platforms_that_are_here() -> None:
    """Each once, in its order; what signs or attests is for none."""
    entries = [
        {"digest": name, "platform": {"os": system, "architecture": "amd64"}}
        for name, system in (("a", "linux"), ("b", "windows"), ("c", "linux"), ("d", "unknown"))
    ]
    content = json.dumps({"manifests": [*entries, {"digest": "a"}, 7]}).encode()
    assert platforms.of_index(content, {"a", "c", "d"}) == ("linux/amd64",)


@given(ANY)
def test_nothing_is_too_odd(document: object) -> None:
    content = json.dumps(document).encode()
    for found in (platforms.of_index(content, {""}), platforms.of_config(content)):
        assert all(platform.isprintable() for platform in found)
    assert isinstance(platforms.config_digest(content), str)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 10000, b"\xff"])
def test_what_is_no_json_says_nothing(content: bytes) -> None:
    assert platforms.of_index(content, set()) == platforms.of_config(content) == ()
