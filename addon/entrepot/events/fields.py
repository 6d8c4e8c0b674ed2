"""The fields of log lines: each name means the same in every line."""

from typing import TypedDict


class EventFields(TypedDict, total=False):
    """What a line may say. A value is written as its text; None leaves the field out.

    No value is a credential, a token, or a URL with a query.
    """

    # Who and where
    client: object
    """A client's address."""
    fingerprint: object
    """What a client's ClientHello looks like, in short, behind its TLS library if that is known."""
    host: object
    """A server, as ``scheme://host[:port]``, or ``host:port`` as a client named it."""
    registry: object
    """A registry, as ``scheme://host[:port]``."""
    agent: object
    """What a client's program calls itself, shortened."""
    road: object
    """How a client came: ``proxy``, ``transparent`` or ``mirror``."""
    account: object
    """The user name of an account that is configured."""
    # What was asked for
    repository: object
    """A repository, as ``host[:port]/name``."""
    url: object
    """What was asked of a host, without the query."""
    path: object
    """The path that was asked of a mirror."""
    tag: object
    """A tag of ``repository``."""
    digest: object
    """The digest of a blob or manifest."""
    method: object
    """The method of a request."""
    kind: object
    """What a request is for: ``manifest``, ``index``, ``blob``, ``ping``, ``token``, ``tags``,
    ``referrers``, ``catalog``, ``upload``, ``other``, or ``tunnel``."""
    # What was answered
    status: object
    """The status of the answer; 0 where the client left before."""
    answered: object
    """``hit``, ``miss``, ``collapsed``, ``bypass``, ``error`` or ``tunnel``."""
    cut: object
    """Why an answer ended before its end."""
    # How much, in bytes where no unit is said
    size: object
    """The size of a blob, or of all that a line is about."""
    sent: object
    """What a client got of bodies."""
    from_disk: object
    """What of that was here."""
    from_upstream: object
    """What came from upstream for it."""
    kept: object
    """What is kept of a download, to be continued."""
    offset: object
    """Where in a blob."""
    limit: object
    """The most that is allowed: of storage, or of pulls in a ``window``."""
    attainable: object
    """The most that the disk has room for."""
    free: object
    """What is free of a disk."""
    reserve: object
    """What is left free of a disk."""
    window: object
    """The time for which a registry's ``limit`` counts."""
    source: object
    """Whom a registry's ``limit`` counts: an address or an account."""
    age: object
    """How long ago the registry last confirmed what was served."""
    connections: object
    """How many connections of clients."""
    first_byte_ms: object
    """Milliseconds until the head of an answer was there."""
    total_ms: object
    """Milliseconds until the end of an answer."""
    blobs: object
    """How many blobs."""
    manifests: object
    """How many manifests."""
    images: object
    """How many images."""
    names: object
    """Images, as the administrator named them."""
    rules: object
    """By which rules images were pruned."""
    oldest: object
    """How long ago that was last used which was used longest ago."""
    youngest: object
    """How long ago that was last used which was used latest."""
    rows_removed: object
    """How many rows of the store had no file."""
    files_removed: object
    """How many files of the store had no row."""
    suppressed: object
    """How often it happened since its last line, without a line."""
    # Why, and what follows
    reason: object
    """Why, in words."""
    cause: object
    """What led to it, where that is not a pull: ``push``."""
    state: object
    """How a host is: ``down``, ``slow`` or ``resting``."""
    outcome: object
    """What the proxy did about it."""
    hint: object
    """What the administrator can do about it."""
    task: object
    """What the proxy was doing."""
    # Configuration
    file: object
    """A file."""
    moved_to: object
    """Where a file is now."""
    key: object
    """A key in a file."""
    unused: object
    """Keys in a file that have no effect."""
    variable: object
    """An environment variable."""
    proxy: object
    """The upstream proxy, without its login."""
    no_proxy: object
    """What is reached past the upstream proxy."""
    helper: object
    """The program that keeps logins."""
    expires: object
    """When a certificate ends, after ISO 8601."""
    on: object
    """Where clients of the forward proxy are accepted."""
    transparent: object
    """Where redirected clients are accepted."""
    action: object
    """What somebody asked for at the page."""
    admin: object
    """Where the page is, beside the proxy's own address."""
    mirrors: object
    """Where clients of mirrors are accepted."""
    data: object
    """The data folder."""
    ca_sha256: object
    """The fingerprint of an authority's certificate."""
    until: object
    """When something ends or changes, after ISO 8601."""
    waiting: object
    """How many clients are not ready, as far as is known."""
