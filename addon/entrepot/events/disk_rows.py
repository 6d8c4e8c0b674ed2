"""Rows of the disk: what is stored, and what fails there."""

from entrepot.events.row import info, warning

STORE_FULL = warning(
    "digest size suppressed",
    "The blob is larger than the limit or the disk allows, or than what running downloads "
    "leave; it was served unstored.",
    "`--size`, or a larger disk.",
)
OBJECTS_EVICTED = info(
    "blobs manifests size oldest youngest hint",
    "So many objects gave way for new ones since the last such line; `oldest` and `youngest` "
    "say how long ago they were last used.",
    "Where there is a `hint`: `--size`, or a larger disk; "
    "`entrepot ls --next` lists [what goes next](images.md).",
)
STORE_FAILED = warning(
    "reason suppressed",
    "The disk or the database does not work; pulls go on uncached.",
    "Look at the disk, restart.",
)
STORE_BUSY = warning(
    "reason suppressed",
    "Another process holds the database; pulls go on uncached.",
    "Look what else uses the data folder, restart.",
)
OBJECT_DAMAGED = warning(
    "digest reason outcome moved_to",
    "A stored object was not what it was any more; it was removed before it was served, and is "
    "fetched again. `entrepot verify` keeps it, where `moved_to` says.",
    "Where it repeats, look at the disk.",
)
BLOB_LOST = warning(
    "digest offset",
    "The disk failed while a blob was being sent; the rest came from the registry.",
    "Look at the disk.",
)
STORE_RECOVERED = info(
    "rows_removed files_removed",
    "After a kill or a power cut: rows without their files and files without their rows were "
    "removed.",
)
DATABASE_DAMAGED = warning(
    "file reason moved_to outcome",
    "At a start: a database could not be read; it lies beside the new one as `cache.db.damaged`.",
    "Nothing; look at the disk.",
)
UPKEEP_FAILED = warning(
    "reason suppressed",
    "The disk or the database does not work; what has expired stays for another hour.",
    "Look at the disk, restart.",
)
SCRUB_FAILED = warning(
    "reason suppressed",
    "The scrubber could not read what is stored; it tries again later.",
    "Look at the disk, restart.",
)
