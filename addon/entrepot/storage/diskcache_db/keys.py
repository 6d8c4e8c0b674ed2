"""The keys of the store's rows: ``blob`` and ``manifest`` in ``blobs``, the others in ``index``."""

from entrepot.protocol.identifiers import Digest, Origin, Reference, Repository


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


def given(repository: Repository, digest: Digest, label: str) -> str:
    """When this registry last gave this object of this repository to anyone, or to an account."""
    return f"given {repository.origin} {repository.name} {digest} {label}"


def shown(repository: Repository, label: str, digest: Digest) -> str:
    """The same of a manifest, in the order in which lists are made; see ``directory``."""
    return f"shown {repository.origin} {repository.name} {label} {digest}"


def closed(repository: Repository, label: str) -> str:
    """When this registry last refused this repository to such."""
    return f"closed {repository.origin} {repository.name} {label}"


def gone(repository: Repository, reference: Reference | str, label: str) -> str:
    """Say: this registry last told such that this object, or this tag, is not there."""
    return f"gone {repository.origin} {repository.name} {reference} {label}"


def tag(repository: Repository, tag: str) -> str:
    """What a tag last was, by normalised ``Accept``."""
    return f"tag {repository.origin} {repository.name} {tag}"


def host(origin: Origin) -> str:
    """Whether a host is a registry."""
    return f"host {origin}"
