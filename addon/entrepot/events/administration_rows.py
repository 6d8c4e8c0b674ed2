"""Rows of what the administrator does."""

from entrepot.events.row import info, warning

IMAGES_REMOVED = info(
    "images size names",
    "The administrator [removed images](images.md); `size` are the bytes that became free.",
)
IMAGES_PINNED = info(
    "images size names",
    "The administrator [pinned images](images.md#pins); `size` are the bytes of all pins.",
)
IMAGES_UNPINNED = info(
    "images size names",
    "The administrator unpinned images; `size` are the bytes of the pins that are left.",
)
CONTROL_REFUSED = warning(
    "reason suppressed",
    "Somebody else than the proxy's own user, or root, opened the control socket.",
    "Look who can enter the data folder.",
)
CONTROL_FAILED = warning(
    "reason",
    "The control socket could not be made: [what it is for](images.md) cannot be done while "
    "the proxy runs.",
    "By the reason; a restart tries again.",
)
