"""The keys of the store's rows: blobs, manifests and lists in ``blobs``, the others in ``index``.

A key is a word that says what the row is, then the words that it is about, in the order in which
they are looked through (:class:`KeyRange`). No word has a space. A *label* says who was answered:
somebody anonymous, or an account of the proxy's (``protocol.account``).
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
LISTS = KeyRange("list ")
PINS = KeyRange("pin ")


def blob(digest: Digest) -> str:
    """A blob's bytes, a file; the tag column says its type and size, and when it was verified."""
    return f"blob {digest}"


def manifest(origin: Origin, digest: Digest) -> str:
    """A manifest's exact bytes, each registry's apart.

    The tag column says its type, when it was stored and what it lists.
    """
    return f"manifest {origin} {digest}"


def link(repository: Repository, digest: Digest) -> str:
    """A repository has this object, and its bytes may be given to whom upstream allows it there."""
    return f"link {repository.origin} {repository.name} {digest}"


def held(origin: Origin, digest: Digest) -> str:
    """A registry delivered these bytes once, or took them in."""
    return f"held {origin} {digest}"


def public(digest: Digest) -> str:
    """Some registry that holds these bytes gives them to anybody; for ten minutes."""
    return f"public {digest}"


def given(repository: Repository, digest: Digest, label: str) -> str:
    """When a registry last gave this object of its repository to a label."""
    return f"given {repository.origin} {repository.name} {digest} {label}"


def given_to_any(repository: Repository, digest: Digest) -> KeyRange:
    """The same for every label."""
    return KeyRange(f"given {repository.origin} {repository.name} {digest} ")


def read_given(key: str) -> tuple[Repository, Digest, str]:
    """Take a key of :func:`given` apart; ValueError where it is damaged."""
    _, origin, name, digest, label = key.split(" ")
    return Repository(Origin.parse(origin), name), Digest.parse(digest), label


def shown(repository: Repository, label: str, digest: Digest) -> str:
    """When a manifest was given to a label, in the order of lists (``catalog_index``)."""
    return f"shown {repository.origin} {repository.name} {label} {digest}"


def shown_of(origin: Origin) -> KeyRange:
    """The manifests that a registry gave, to any label."""
    return KeyRange(f"shown {origin} ")


def shown_to(repository: Repository, label: str) -> KeyRange:
    """The manifests of a repository that a label was given."""
    return KeyRange(f"shown {repository.origin} {repository.name} {label} ")


def closed(repository: Repository, label: str) -> str:
    """When a registry last refused a repository to a label."""
    return f"closed {repository.origin} {repository.name} {label}"


def gone(repository: Repository, reference: Reference | str, label: str) -> str:
    """A registry last told a label that this object, or this tag, is not there."""
    return f"gone {repository.origin} {repository.name} {reference} {label}"


def tag(repository: Repository, tag: str) -> str:
    """What a tag last was, by normalised ``Accept``, in JSON."""
    return f"tag {repository.origin} {repository.name} {tag}"


def kept_list(origin: Origin, repository: str, label: str, which: str) -> str:
    """What a registry last answered a label to one question for a list; ``which``: its hash."""
    return f"list {origin} {repository} {label} {which}"


def lists_of(origin: Origin, repository: str, label: str = "") -> KeyRange:
    """What it answered a label, or any, about a repository, or about all (``_catalog``)."""
    words = f"list {origin} {repository} {label}".rstrip()
    return KeyRange(f"{words} ")


def pin(repository: Repository, digest: Digest) -> str:
    """An image that is not to be evicted; stays."""
    return f"pin {repository.origin} {repository.name} {digest}"


def read_pin(key: str) -> tuple[Repository, Digest]:
    """Take a key of :func:`pin` apart; ValueError where it is damaged."""
    _, origin, name, digest = key.split(" ")
    return Repository(Origin.parse(origin), name), Digest.parse(digest)


def tags_of(repository: Repository) -> KeyRange:
    """The tags of a repository."""
    return KeyRange(f"tag {repository.origin} {repository.name} ")


def host(origin: Origin) -> str:
    """Whether a host is a registry, and until when that counts, in JSON."""
    return f"host {origin}"
