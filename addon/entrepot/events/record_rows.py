"""Rows of the records of requests (``observe``)."""

from entrepot.events.row import info, warning

REQUEST_SERVED = info(
    "client agent road method kind host repository tag digest status answered reason cut sent "
    "from_disk from_upstream first_byte_ms total_ms",
    "With `--access-log`: a request, or a tunnel to a registry, has ended.",
)

RECORDS_DAMAGED = warning(
    "file reason moved_to",
    "The database of records is damaged or another version's: it is `records.db.damaged` now.",
    "Nothing; look at the disk. The new one begins empty.",
)

RECORDS_FAILED = warning(
    "reason suppressed",
    "Requests cannot be recorded for now; `records_dropped` counts those that are missing.",
    "Look at the disk and at who else uses `records.db`; it is tried again all the time.",
)
