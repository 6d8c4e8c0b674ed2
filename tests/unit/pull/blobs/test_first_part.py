"""What upstream is asked for first, by what is wanted and what is here."""

import pytest

from entrepot.protocol.identifiers import Digest, Origin
from entrepot.protocol.messages import Request
from entrepot.pull.blobs.first_part import first_part
from entrepot.transfer.filling.segments import AHEAD, JOINED, READ_THROUGH
from entrepot.transfer.growing_file import GrowingFile

FAR = 4 * READ_THROUGH


@pytest.mark.parametrize(
    ("wanted", "here", "asked"),
    [
        ("bytes=100-199", [], f"bytes=100-{100 + JOINED - 1}"),
        ("bytes=100-199", [(0, 150)], f"bytes=150-{100 + JOINED - 1}"),
        ("bytes=100-199", [(50, 500)], "bytes=100-100"),
        ("bytes=-60", [], "bytes=-60"),
        ("bytes=100-", [], f"bytes=100-{100 + AHEAD - 1}"),
        (None, [], None),
        (None, [(0, FAR)], None),
        (None, [(100, 200)], None),
        (None, [(100, 200), (FAR, FAR + READ_THROUGH)], f"bytes=0-{FAR - 1}"),
        (None, [(0, 100), (FAR, FAR + READ_THROUGH)], f"bytes=100-{FAR - 1}"),
    ],
)
def test_what_is_asked_for_first(
    growing: GrowingFile, wanted: str | None, here: list[tuple[int, int]], asked: str | None
) -> None:
    """The first gap; of the whole not what is here already, where that is much."""
    for start, stop in here:
        growing.covered.add(start, stop)
    headers = () if wanted is None else (("Range", wanted),)
    request = Request("GET", Origin("https", "hub.example.test", 443), "/v2/a/blobs/x", "", headers)
    found = first_part(request, Digest.of(b"blob"), growing)
    assert found == (None if asked is None else ("Range", asked))
