"""Rows of what the administrator does."""

from entrepot.events.row import info, warning

IMAGES_REMOVED = info(
    "images size names",
    "The administrator [removed images](images.md); `size` are the bytes that became free.",
)
IMAGES_PRUNED = info(
    "images size rules",
    "The administrator [pruned images](images.md#pruning); `size` are the bytes that became free.",
)
IMAGE_IMPORTED = info(
    "names digest size",
    "The administrator [imported an image](airgap.md); `size` are its bytes.",
)
IMAGES_PINNED = info(
    "images size names",
    "The administrator [pinned images](images.md#pins); `size` are the bytes of all pins.",
)
IMAGES_UNPINNED = info(
    "images size names",
    "The administrator unpinned images; `size` are the bytes of the pins that are left.",
)
PAGE_SIGNED_IN = info(
    "client",
    "Somebody signed in to [the page](page.md) with its token.",
)
PAGE_REFUSED = warning(
    "client reason suppressed",
    "[The page](page.md) did not answer somebody: by the address, a host name that is not the "
    "proxy's, a wrong token, or a request that another site made.",
    "`--admin-allow` or `--admin-host`, if it was you.",
)
PAGE_CHANGED = info(
    "client action names outcome",
    "Somebody who is signed in to [the page](page.md) asked for this change.",
)
PAGE_FAILED = warning(
    "reason",
    "The page cannot be served at the address of `--admin`.",
    "By the reason; it is at the proxy's own address, too.",
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
# The authority, and its replacement by a successor
AUTHORITY_EXPIRES = warning(
    "expires hint",
    "The authority's certificate ends within 30 days; logged at each start and each day.",
    "`entrepot ca rotate` replaces it [without downtime]"
    "(operations.md#rotating-the-authority-on-a-fleet).",
)
AUTHORITY_ANNOUNCED = info(
    "ca_sha256 until",
    "`entrepot ca rotate`: the successor with this fingerprint is announced to clients, or its "
    "date was moved; the authority in use signs `until` then.",
    "Let [every client install both](operations.md#rotating-the-authority-on-a-fleet).",
)
AUTHORITY_ROTATING = info(
    "ca_sha256 until waiting hint",
    "A rotation is under way; logged at each start and each day. `waiting` are the clients that "
    "were seen within a week and have not fetched the successor.",
    "Install it on those clients, which `entrepot ca show` names.",
)
AUTHORITY_SWITCHED = info(
    "ca_sha256 waiting",
    "From now on the successor signs; for clients that are not ready (`waiting`) the one before "
    "does, for 30 days.",
    "Install it on the clients that are left.",
)
ROTATION_ABORTED = info(
    "ca_sha256",
    "`entrepot ca rotate --abort`: the successor is not announced any more, and never signs.",
)
ROTATION_ENDED = info(
    "ca_sha256 hint",
    "30 days after the switch: the authority before is not told of any more.",
    "Delete its key, which is `mitmproxy-ca.pem.….old` in the folder `ca`.",
)
ROTATION_FAILED = warning(
    "reason suppressed",
    "What is kept of a rotation cannot be read or written; the authority in use goes on to sign.",
    "By the reason.",
)
