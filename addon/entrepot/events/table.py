"""The table of everything that is logged; what is not in it cannot be.

The list of events in ``docs/operations.md`` is made from it (``documentation.py``).
"""

from enum import Enum

from entrepot.events import (
    administration_rows,
    disk_rows,
    process_rows,
    record_rows,
)
from entrepot.events.row import EventRow, error, info, warning


class Event(Enum):
    """Each event with its row; a line begins with its name in lower case, a noun and a verb.

    ``/healthz`` counts each by the same name.
    """

    # From start to stop
    LISTENING = info(
        "on transparent mirrors admin data limit ca_sha256",
        "The proxy is ready; the fingerprint is what clients compare.",
    )
    START_FAILED = process_rows.START_FAILED
    UPSTREAM_PROXY_USED = process_rows.UPSTREAM_PROXY_USED
    DISK_OVERBOOKED = process_rows.DISK_OVERBOOKED
    REGISTRY_CONFIG_READ = info(
        "file unused",
        "`--registry-config` was read; what is `unused` has no effect here.",
    )
    DOCKER_CONFIG_SKIPPED = warning(
        "file key",
        "A login of `--docker-config` cannot be read, and is left out.",
        "Log in again with docker, as that user.",
    )
    PASSWORD_READABLE = warning(
        "file reason hint",
        "A file with a password can be read by others; it is used all the same.",
        "`chmod 600` that file, if nobody else has to read it.",
    )
    PROXY_IGNORED = warning(
        "variable reason",
        "The environment names this proxy as its own upstream proxy, which is left out.",
        "Nothing; or unset the variable for the service.",
    )
    AUTHORITY_EXPIRES = administration_rows.AUTHORITY_EXPIRES
    AUTHORITY_ANNOUNCED = administration_rows.AUTHORITY_ANNOUNCED
    AUTHORITY_ROTATING = administration_rows.AUTHORITY_ROTATING
    AUTHORITY_SWITCHED = administration_rows.AUTHORITY_SWITCHED
    ROTATION_ABORTED = administration_rows.ROTATION_ABORTED
    ROTATION_ENDED = administration_rows.ROTATION_ENDED
    ROTATION_FAILED = administration_rows.ROTATION_FAILED
    DRAIN_BEGUN = info(
        "connections hint",
        "The proxy was told to stop, and lets what is under way end, for at most `--drain`.",
        "Nothing; a second signal ends it at once.",
    )
    TRANSFERS_UNFINISHED = warning(
        "connections",
        "So many clients still had a request or a tunnel under way at the end of `--drain`, or at "
        "a second signal, and were cut off.",
        "Nothing; a download is continued when it is next asked for.",
    )
    HOOK_FAILED = error(
        "task",
        "The proxy's own code failed on one request or connection; the others go on.",
        "Report it, with the traceback that follows the line.",
    )
    LIBRARY_WARNED = process_rows.LIBRARY_WARNED
    LIBRARY_FAILED = process_rows.LIBRARY_FAILED
    # Clients
    CLIENT_REFUSED = warning(
        "client reason",
        "`--allow-client` does not name this client, or its address is public; logged once of "
        "each.",
        "`--allow-client`, if it may use the proxy; a private address for one that is public.",
    )
    PORT_MISTAKEN = warning(
        "client reason hint",
        "A client takes a port for what it is not: a mirror's for the proxy's (it got status 421), "
        "or the proxy's for a registry's (404); logged once of each.",
        "What the hint says, at the client.",
    )
    CLIENT_DROPPED = info(
        "client reason",
        "A client did nothing for the time of `--idle`; the reason says in what.",
        "Nothing, or a longer `--idle`.",
    )
    CERTIFICATE_REFUSED = warning(
        "client host fingerprint outcome hint",
        "The client does not trust the CA, or was not restarted since: it is [tunnelled for a "
        "while](clients.md#clients-that-do-not-trust-the-ca), so pulls work uncached. Others at "
        "its address are not. Logged once in ten minutes of each client and host.",
        "`sh ca/install.sh check --url http://PROXY:3128` on the client, and restart its engine.",
    )
    REQUEST_MISDIRECTED = warning(
        "client reason",
        "CONNECT, SNI and `Host` name different hosts; the client got status 421.",
        "A client or a proxy in between is wrong: it must use one name.",
    )
    REDIRECT_MISSING = warning(
        "client",
        "A client uses the port of `--transparent` as its proxy.",
        "Let it use the port of `--listen`.",
    )
    REDIRECT_LOOPED = warning(
        "host hint",
        "The rules of the firewall redirect what the proxy itself sends.",
        "`sh scripts/redirect.sh install --local --user USER` with the user as whom it runs.",
    )
    DESTINATION_REFUSED = warning(
        "client host path reason",
        "A client wants to go where [nobody is led](security.md#where-nobody-is-led) from its "
        "address, and got status 403, or 404 of a mirror.",
        "`--registry HOST:PORT`, if it may.",
    )
    TRANSFER_CUT = warning(
        "client reason",
        "An answer had to be broken off before its end: the rest could not be had, or its digest "
        "does not fit.",
        "Nothing, if the next try succeeds; else what the reason says.",
    )
    REQUEST_SERVED = record_rows.REQUEST_SERVED
    # Registries and other servers
    HOST_PROBED = info(
        "host outcome",
        "The proxy asked a host whether it is a registry, and the outcome is what becomes of it; "
        "to pass through is what is ordinary for every other host.",
        "Nothing; `--registry HOST` for a registry that does not say that it is one.",
    )
    HOST_TUNNELLED = warning(
        "host reason hint",
        "The host asks its clients for a certificate, which only they can show, or speaks no "
        "HTTP/1.1, or the proxy cannot trust its certificate: it is tunnelled.",
        "`--registry HOST`, if its clients need no certificate.",
    )
    UPSTREAM_FAILED = warning(
        "host repository url path reason",
        "A server gave no fit answer: it cannot be reached, its certificate is not trusted, it "
        "breaks HTTP, it answers 5xx or 429, or it redirects to where nobody is led.",
        "By the reason: `--upstream-ca` for a private CA, `--upstream-proxy` behind a corporate "
        "proxy, `--resolve` for a wrong DNS, `--registry HOST` where a redirect may lead.",
    )
    UPSTREAM_AWAY = warning(
        "host state reason",
        "A host does not answer: what is stored is [served without it](outages.md).",
        "Nothing; `upstream_back` says when it answers again.",
    )
    UPSTREAM_BACK = info(
        "host",
        "A host that was away answers again.",
    )
    UPSTREAM_PROXY_FAILED = warning(
        "client host reason",
        "The corporate proxy is down, hangs, or refuses the password (407) or the host (403); each "
        "reason is logged once a minute.",
        "See [Behind a corporate proxy](configuration.md#behind-a-corporate-proxy).",
    )
    RATE_LIMITED = warning(
        "host limit window source hint",
        "The registry lets nobody pull any more for a while, by these figures.",
        "Configure [an account](accounts.md), which has a higher limit, or log in at the clients.",
    )
    TAG_STALE = info(
        "tag repository age",
        "The registry does not answer, so a tag was served as it last was.",
        "Nothing; `--max-stale` bounds the age.",
    )
    LIST_STALE = info(
        "kind registry repository age",
        "The registry does not answer, so a list (of tags, referrers or repositories) was served as"
        " it last was.",
        "Nothing; `--max-stale` bounds the age.",
    )
    LOGIN_REFUSED = warning(
        "host account",
        "A registry does not take an account's login, or not for this repository; clients get what "
        "anybody gets.",
        "A right password in `password_file` (no restart), or what the account may read.",
    )
    LOGIN_WITHHELD = warning(
        "registry reason",
        "A registry is not shown an account's login: it sends for tokens to a host that is not its "
        "own, or is reached by plain HTTP.",
        "If it is to see the login, [say so](accounts.md#where-a-login-goes) in its table.",
    )
    CREDENTIAL_HELPER_FAILED = warning(
        "helper registry reason",
        "A program of `--docker-config` gave no login.",
        "Run it by hand: `echo HOST \\| docker-credential-NAME get`.",
    )
    # Downloads and pushes
    BLOB_STORED = info(
        "digest size repository cause",
        "A blob is on the disk, whole and verified; the next pull is a hit.",
    )
    DIGEST_MISMATCHED = warning(
        "digest repository registry reason kept",
        "The registry sent bytes that are not what the digest says; nothing was stored, the "
        "transfer was cut.",
        "Pull again; where it repeats, the registry's copy is damaged.",
    )
    FETCH_BROKEN = warning(
        "digest repository reason kept",
        "The registry broke off again and again, or its answers do not fit together.",
        "The next pull goes on where it ended.",
    )
    FETCH_YIELDED = info(
        "digest repository reason kept",
        "A download brought less than 16 KiB a second for a minute, and nobody waited for it or "
        "others needed its place; its clients went on from the registry. Or, with `--fill asked`, "
        "nobody has asked for more of it for 30 s.",
        "Nothing: what came is kept, and continued.",
    )
    DOWNLOADS_FULL = warning(
        "registry digest suppressed",
        "256 downloads run, or 128 of that registry; the blob was served unstored.",
        "Nothing.",
    )
    PUSH_UNKEPT = info(
        "digest repository reason",
        "The registry took in what a client pushed, but it was not stored here.",
        "Nothing: the push is well, the first pull fetches.",
    )
    # What the administrator does
    IMAGES_REMOVED = administration_rows.IMAGES_REMOVED
    IMAGES_PRUNED = administration_rows.IMAGES_PRUNED
    IMAGE_IMPORTED = administration_rows.IMAGE_IMPORTED
    IMAGES_PINNED = administration_rows.IMAGES_PINNED
    IMAGES_UNPINNED = administration_rows.IMAGES_UNPINNED
    PAGE_SIGNED_IN = administration_rows.PAGE_SIGNED_IN
    PAGE_REFUSED = administration_rows.PAGE_REFUSED
    PAGE_CHANGED = administration_rows.PAGE_CHANGED
    PAGE_FAILED = administration_rows.PAGE_FAILED
    CONTROL_REFUSED = administration_rows.CONTROL_REFUSED
    CONTROL_FAILED = administration_rows.CONTROL_FAILED
    # The disk
    STORE_FULL = disk_rows.STORE_FULL
    OBJECTS_EVICTED = disk_rows.OBJECTS_EVICTED
    STORE_FAILED = disk_rows.STORE_FAILED
    STORE_BUSY = disk_rows.STORE_BUSY
    OBJECT_DAMAGED = disk_rows.OBJECT_DAMAGED
    BLOB_LOST = disk_rows.BLOB_LOST
    STORE_RECOVERED = disk_rows.STORE_RECOVERED
    DATABASE_DAMAGED = disk_rows.DATABASE_DAMAGED
    RECORDS_DAMAGED = record_rows.RECORDS_DAMAGED
    RECORDS_FAILED = record_rows.RECORDS_FAILED
    UPKEEP_FAILED = disk_rows.UPKEEP_FAILED
    SCRUB_FAILED = disk_rows.SCRUB_FAILED

    def __init__(self, row: EventRow) -> None:
        self.row = row
        self.label = self._name_.lower()
        """The name as it is logged and counted."""
