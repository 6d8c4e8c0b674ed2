"""What a manifest lists, whatever bytes it is made of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.protocol.identifiers import Digest
from entrepot.protocol.manifests import MOST_LISTED, is_cacheable, listed_digests

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(str(A)),
    lambda children: st.lists(children) | st.dictionaries(st.just("digest") | st.text(), children),
    max_leaves=10,
)


def entry(digest: object) -> dict[str, object]:
    return {"mediaType": "application/octet-stream", "digest": digest, "size": 1}


@pytest.mark.parametrize(
    ("document", "digests"),
    [
        ({"config": entry(str(A)), "layers": [entry(str(B)), entry(str(C))]}, {A, B, C}),
        ({"manifests": [entry(str(A)), entry(str(B))]}, {A, B}),
        ({"blobs": [entry(str(A))]}, {A}),
        ({"config": entry(str(A)), "subject": entry(str(B))}, {A}),
        ({"layers": [entry(str(A)), entry(str(A))]}, {A}),
        ({"layers": [entry(str(A)), entry("md5:00"), entry(7), entry(None), 5, None, []]}, {A}),
        ({"layers": {"digest": str(A)}}, set()),
        ({"layers": [str(A)], "config": str(A)}, set()),
        ({"config": [entry(str(A))]}, set()),
        ({"fsLayers": [{"blobSum": str(A)}]}, set()),
        ({}, set()),
        ([entry(str(A))], set()),
        (str(A), set()),
    ],
)
def test_config_layers_blobs_and_manifests_are_listed(
    document: object, digests: set[Digest]
) -> None:
    """What belongs to the manifest is listed; its subject and all that is malformed is not."""
    assert listed_digests(json.dumps(document).encode()) == digests


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000]
)
def test_what_is_no_json_lists_nothing(content: bytes) -> None:
    """Neither a broken nor an endlessly nested document raises."""
    assert listed_digests(content) == frozenset()


@given(st.binary())
def test_any_bytes_can_be_asked(content: bytes) -> None:
    """Bytes from outside lead to digests or to none, never to an error."""
    assert isinstance(listed_digests(content), frozenset)


@given(
    st.dictionaries(st.sampled_from(["config", "layers", "manifests", "blobs", "subject"]), JSON)
)
def test_any_json_can_be_asked(document: dict[str, object]) -> None:
    """Only digests come out, and only ones that stand in the document."""
    content = json.dumps(document)
    assert all(str(digest) in content for digest in listed_digests(content.encode()))


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    """Of a manifest's entries the first ones count, good or bad."""
    good = [{"digest": str(Digest.of(str(number).encode()))} for number in range(MOST_LISTED)]
    for entries, count in (
        (good, MOST_LISTED - 1),  # one place is the configuration's
        ([*good, {"digest": str(Digest.of(b"last"))}], MOST_LISTED - 1),
        ([{"digest": "bad"}] * MOST_LISTED + good, 0),
    ):
        assert len(listed_digests(json.dumps({"layers": entries}).encode())) == count


@pytest.mark.parametrize(
    ("media_type", "cacheable"),
    [
        ("application/vnd.oci.image.manifest.v1+json", True),
        ("application/vnd.oci.image.index.v1+json", True),
        ("application/vnd.docker.distribution.manifest.v2+json", True),
        ("application/vnd.docker.distribution.manifest.list.v2+json", True),
        ("application/json", True),
        ("", True),
        ("application/vnd.docker.distribution.manifest.v1+json", False),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", False),
        ("Application/VND.docker.distribution.manifest.V1+prettyjws; charset=utf-8", False),
        ("text/html", False),
        ("Text/HTML; charset=utf-8", False),
    ],
)
def test_what_is_no_manifest_of_its_own_digest_is_never_cached(
    media_type: str,
    cacheable: bool,  # noqa: FBT001 a column of the table
) -> None:
    """Schema 1 is signed inside its own bytes; a page of HTML is a portal's."""
    assert is_cacheable(media_type) is cacheable
