"""Records as the recorder hands them over."""

from entrepot.observe.outcome import Outcome
from entrepot.observe.request_record import RequestRecord, Road

BLOB = RequestRecord(
    at=1_790_000_040.0,
    client="10.0.0.9",
    agent="docker/26.1",
    road=Road.PROXY,
    registry="docker.io",
    kind="blob",
    repository="library/alpine",
    reference="sha256:" + "a" * 64,
    method="GET",
    status=200,
    answered="hit",
    outcome=Outcome.HIT,
    why="held",
    cut="",
    sent=1000,
    from_disk=1000,
    from_upstream=0,
    first_byte_ms=3,
    total_ms=9,
)
