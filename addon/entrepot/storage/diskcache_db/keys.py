"""The keys of the store's rows: ``blob`` and ``manifest`` in ``blobs``, the others in ``index``.

A key is a word that says what the row is, then the words that it is about, in the order in which
they are looked through (:class:`KeyRange`). No word has a space.
"""

from dataclasses import dataclass

from entrepot.protocol.identifiers import Digest, Origin, Reference, Repository

_AFTER_SPACE = "!"
"""The character after the space that ends a word, and before all that words have."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """All keys that begin with the same words; ``start`` ends with a space."""

    start: str

    @property
    def end(self) -> str:
        """The first text that sorts behind all of them."""
        return f"{self.start[:-1]}{_AFTER_SPACE}"

    def after(self, word: str) -> str:
        """Where those begin whose next word sorts behind ``word``."""
        return f"{self.start}{word}{_AFTER_SPACE}"

    def rest(self, key: str) -> str:
        """What follows in one of these keys."""
        return key.removeprefix(self.start)

    def word(self, key: str) -> str:
        """The next word of one of these keys."""
        return self.rest(key).partition(" ")[0]


BLOBS = KeyRange("blob ")
GIVEN = KeyRange("given ")
SHOWN = KeyRange("shown ")


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


def given_to_any(repository: Repository, digest: Digest) -> KeyRange:
    """Every label to which this object of this repository was given."""
    return KeyRange(f"given {repository.origin} {repository.name} {digest} ")


def read_given(key: str) -> tuple[Repository, Digest, str]:
    """Take a key of :func:`given` apart; ValueError where it is damaged."""
    _, origin, name, digest, label = key.split(" ")
    return Repository(Origin.parse(origin), name), Digest.parse(digest), label


def shown(repository: Repository, label: str, digest: Digest) -> str:
    """The same of a manifest, in the order in which lists are made; see ``catalog_index``."""
    return f"shown {repository.origin} {repository.name} {label} {digest}"


def shown_of(origin: Origin) -> KeyRange:
    """What a registry gave to somebody."""
    return KeyRange(f"shown {origin} ")


def shown_to(repository: Repository, label: str) -> KeyRange:
    """The manifests of a repository that such were given."""
    return KeyRange(f"shown {repository.origin} {repository.name} {label} ")


def closed(repository: Repository, label: str) -> str:
    """When this registry last refused this repository to such."""
    return f"closed {repository.origin} {repository.name} {label}"


def gone(repository: Repository, reference: Reference | str, label: str) -> str:
    """Say: this registry last told such that this object, or this tag, is not there."""
    return f"gone {repository.origin} {repository.name} {reference} {label}"


def tag(repository: Repository, tag: str) -> str:
    """What a tag last was, by normalised ``Accept``."""
    return f"tag {repository.origin} {repository.name} {tag}"


def tags_of(repository: Repository) -> KeyRange:
    """The tags of a repository."""
    return KeyRange(f"tag {repository.origin} {repository.name} ")


def host(origin: Origin) -> str:
    """Whether a host is a registry."""
    return f"host {origin}"
