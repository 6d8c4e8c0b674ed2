"""Rows of the process and what it stands on: its start, its disk, the libraries below it."""

import logging

from entrepot.events.row import EventRow, error, info, warning

START_FAILED = EventRow(
    logging.ERROR,
    ("reason",),
    "In `mitmdump`: the proxy cannot start. `entrepot serve` says that in a line of its own.",
    "By the reason.",
)
UPSTREAM_PROXY_USED = info(
    "proxy variable no_proxy",
    "At a start: whatever leaves goes by this upstream proxy, but for what `no_proxy` names "
    "and this machine itself; `variable` is what named it, if no option did.",
    "Nothing; see [Behind a corporate proxy](configuration.md#behind-a-corporate-proxy).",
)
DISK_OVERBOOKED = warning(
    "data limit attainable free reserve hint",
    "At a start: the limit cannot be had on that disk, beside what else is on it and the "
    "`reserve` that is left free; no more than what is `attainable` is kept.",
    "A smaller `--size`, or room on the disk, or a larger one.",
)
LIBRARY_WARNED = warning(
    "client reason",
    "What mitmproxy or another library says, where no other event does.",
    "By the reason.",
)
LIBRARY_FAILED = error(
    "client reason",
    "A failure of which nothing else tells, mostly in the code of mitmproxy or of another "
    "library; the other requests go on.",
    "Report it, with the traceback that follows the line.",
)
