"""The keys of the store's rows: ``blob`` and ``manifest`` in ``blobs``, the others in ``index``."""

from entrepot.reference import Digest, Origin, Repository


def blob(digest: Digest) -> str:
    """The bytes, a file; the tag column says type and size."""
    return f"blob {digest}"


def manifest(origin: Origin, digest: Digest) -> str:
    """Exact bytes, for each registry; the tag column says type and when."""
    return f"manifest {origin} {digest}"


def link(repository: Repository, digest: Digest) -> str:
    """Say: this repository has this object, and its bytes may be given to who is allowed there."""
    return f"link {repository.origin} {repository.name} {digest}"


def held(origin: Origin, digest: Digest) -> str:
    """Say: this registry delivered these bytes once."""
    return f"held {origin} {digest}"


def public(digest: Digest) -> str:
    """Some registry that holds these bytes gives them to anybody."""
    return f"public {digest}"


def anyone(repository: Repository, digest: Digest) -> str:
    """When this registry last gave this object of this repository to somebody anonymous."""
    return f"anyone {repository.origin} {repository.name} {digest}"


def closed(repository: Repository) -> str:
    """When this registry last refused this repository to somebody anonymous."""
    return f"closed {repository.origin} {repository.name}"


def tag(repository: Repository, tag: str) -> str:
    """What a tag last was, by normalised ``Accept``."""
    return f"tag {repository.origin} {repository.name} {tag}"


def host(origin: Origin) -> str:
    """Whether a host is a registry."""
    return f"host {origin}"
