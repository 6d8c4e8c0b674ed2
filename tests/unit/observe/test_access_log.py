"""One line a request."""

from dataclasses import replace

import pytest

from entrepot.events.log import Events
from entrepot.observe.access_log import AccessLog
from unit.observe.world import BLOB, DIGEST, TAG


def test_a_line_says_who_what_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """With the same names as every other line, and what is not known left out."""
    ping = replace(TAG, kind="ping", repository="", reference="", client="", cut="it broke off")
    with caplog.at_level("INFO", "entrepot"):
        AccessLog(Events()).write([BLOB, TAG, ping])
    blob, tag, other = (record.getMessage() for record in caplog.records)
    assert blob == (
        "request_served client=10.0.0.9 agent=docker/26.1 road=proxy method=GET kind=blob "
        f"host=docker.io repository=docker.io/library/alpine digest={DIGEST} status=200 "
        "answered=hit reason=held sent=1000 from_disk=1000 from_upstream=0 first_byte_ms=3 "
        "total_ms=9"
    )
    assert " tag=3 " in tag
    assert "digest=" not in tag
    assert "client=" not in other
    assert 'cut="it broke off"' in other
