"""What a manifest lists, in a row and in memory."""

import pytest

from entrepot.protocol.identifiers import Digest
from entrepot.storage.diskcache_db.listed_descriptors import Lately, decode, encode

MANY = frozenset(
    Digest.of(b"%d" % number, algorithm)
    for number in range(50)
    for algorithm in ("sha256", "sha512")
)


@pytest.mark.parametrize("listed", [frozenset[Digest](), frozenset([Digest.of(b"")]), MANY])
def test_what_is_written_is_read_again(listed: frozenset[Digest]) -> None:
    assert decode(encode(listed)) == listed


@pytest.mark.parametrize("text", ["x", "ab" * 31, "AB" * 32, "ab" * 48])
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        decode(text)


def test_what_was_asked_for_lately_is_not_looked_for_again() -> None:
    """However much they list, the latest is kept, and those that fit beside it."""
    lately, found = Lately(most=150), list[int]()

    def asked(number: int) -> bool:
        """Whether it was looked for."""

        def find() -> frozenset[Digest]:
            found.append(number)
            return MANY

        before = len(found)
        assert lately.get(Digest.of(b"%d" % number), find) == MANY
        return len(found) > before

    assert [asked(1), asked(1), asked(2), asked(2), asked(1)] == [True, False, True, False, True]


def test_manifests_that_list_nothing_take_room_too() -> None:
    lately, looked = Lately(most=80), list[int]()

    def find() -> frozenset[Digest]:
        looked.append(1)
        return frozenset()

    for number in (*range(20), *range(20)):
        lately.get(Digest.of(b"%d" % number), find)
    assert len(looked) == 40
