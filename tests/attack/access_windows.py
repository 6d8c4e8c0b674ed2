"""What a reference allowed whom and until when, by the windows of docs/authorization.md.

``History`` is what the cache may give; ``Kept`` what it must, while a registry fails.
"""

from attack.reference_registry import ACCOUNT, CONTENT, Token, World
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository

PLAIN_SECONDS, TOKEN_SECONDS, PUBLIC_SECONDS = 60.0, 300.0, 600.0
NEVER = float("-inf")

Header = str | None
Object = tuple[Repository, Digest]


class History:
    """Until when the reference allowed whom what; kept as exactly as the windows are."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._own: dict[tuple[Header, Object], float] = {}
        self._public: dict[Object, float] = {}
        self._ever: set[tuple[str, Object]] = set()
        """What such were ever allowed since they were last refused it."""
        self._untagged: set[tuple[str, Repository, str]] = set()
        """Who was told last that a tag is not there: such, or a login by itself."""

    def headers(self) -> list[Header]:
        return [None, "Basic alice", "Basic bob", "Basic robot", ACCOUNT, *self.tokens()]

    def tokens(self) -> list[str]:
        return [f"Bearer {token}" for token in self._world.tokens]

    def take(self, until: float | None = None) -> None:
        """Note what is allowed now, and will be ``until`` then if only time passes."""
        for repository in self._world.repositories:
            for header in self.headers():
                end = min(until or self._world.now, self._end(header))
                for digest in CONTENT:
                    if self._world.covers(header, repository, digest):
                        self._own[header, (repository, digest)] = end
                        if self.is_anonymous(header):
                            self._public[repository, digest] = end
                        if (label := self.label(header)) is not None:
                            self._ever.add((label, (repository, digest)))

    def refused(
        self, header: Header, repository: Repository, gone: Digest | None, *, for_all: bool
    ) -> None:
        """A refusal that the cache saw ends what it remembers: of one object where that is gone.

        ``for_all``: it says that nobody else who asks so would be answered otherwise.
        """

        def ends(one: Object) -> bool:
            return one[0] == repository and gone in (None, one[1])

        for other, one in list(self._own):
            if other == header and ends(one):
                del self._own[other, one]
        if for_all and self.is_anonymous(header):
            for one in [one for one in self._public if ends(one)]:
                del self._public[one]
        if for_all:
            label = self.label(header)
            ended = {(whose, one) for whose, one in self._ever if whose == label and ends(one)}
            self._ever -= ended
        self.take()

    def deleted(self, repository: Repository, digest: Digest) -> None:
        """A deletion that the cache saw does so for everybody."""
        for header in self.headers():
            self._own.pop((header, (repository, digest)), None)
        self._public.pop((repository, digest), None)
        self._ever -= {(label, (repository, digest)) for label in (ANYONE, ACCOUNT)}
        self.take()

    def allows(self, header: Header, repository: Repository, digest: Digest) -> bool:
        """Whether the reference allows it now, or did so within the window."""
        now, one = self._world.now, (repository, digest)
        if digest not in self._world.repositories[repository].ever:
            return False  # what is only listed is not there to be had
        if self._world.covers(header, repository, digest):
            return True
        token = self._token(header)
        end = token.expires if token is not None and token.seen else float("inf")
        window = PLAIN_SECONDS if end == float("inf") else TOKEN_SECONDS
        own = self._own.get((header, one), NEVER) > now - window and now < end
        return own or self._public.get(one, NEVER) > now - PUBLIC_SECONDS

    def told_of_tag(self, header: Header, repository: Repository, tag: str, *, gone: bool) -> None:
        """The registry said whether a tag is there: it counts for all for whom it is asked so."""
        key = (self._whose(header), repository, tag)
        if gone:
            self._untagged.add(key)
        else:
            self._untagged.discard(key)

    def allowed_ever(
        self, header: Header, repository: Repository, digest: Digest, tag: str | None = None
    ) -> bool:
        """Whether it may be given while the registry fails, as what a ``tag`` was.

        Not to whom the registry last said that this tag is not there. The account's clients may
        still have what anybody may.
        """

        def is_told(whose: str) -> bool:
            return tag is not None and (whose, repository, tag) in self._untagged

        told, label = is_told(self._whose(header)), self.label(header)
        if not told and self.allows(header, repository, digest):
            return True
        if told and label is None:
            return False
        return any(
            (one, (repository, digest)) in self._ever and not is_told(one)
            for one in {ANYONE, label or ANYONE}
        )

    def _whose(self, header: Header) -> str:
        """For whom a word to this client counts: all such, or its login."""
        return self.label(header) or f"login {header}"

    def label(self, header: Header) -> str | None:
        """As whom a client is remembered: as anybody, as the account, or as nobody."""
        if header == ACCOUNT:
            return ACCOUNT
        return ANYONE if self.is_anonymous(header) else None

    def is_anonymous(self, header: Header) -> bool:
        """Whether the proxy knows that nobody had to log in for it."""
        token = self._token(header)
        return header is None or (token is not None and token.seen and token.user is None)

    def _end(self, header: Header) -> float:
        token = self._token(header)
        return token.expires if token is not None else float("inf")

    def _token(self, header: Header) -> Token | None:
        return self._world.tokens.get((header or "").removeprefix("Bearer "))


class Kept:
    """What must be given while a registry fails: to who shows no login, and to the account."""

    def __init__(self) -> None:
        self._held: set[tuple[Origin, Digest]] = set()
        self._objects: set[tuple[Header, Object]] = set()
        self._tags: dict[tuple[Header, Repository, str], Digest] = {}

    def given(
        self, header: Header, repository: Repository, digest: Digest, how: str, *, asked: bool
    ) -> None:
        """An object was given; the registry itself said so where it was ``asked``."""
        if how.endswith("fwd=miss; stored"):
            self._held.add((repository.origin, digest))
        if asked and header in (None, ACCOUNT) and (repository.origin, digest) in self._held:
            self._objects.add((header, (repository, digest)))

    def tag_given(
        self, header: Header, repository: Repository, tag: str, digest: Digest, how: str
    ) -> None:
        """The same of a tag, to whoever, by GET or HEAD: it is that now, and not what it was."""
        self.given(header, repository, digest, how, asked=True)
        for key, known in list(self._tags.items()):
            if key[1:] == (repository, tag) and known != digest:
                del self._tags[key]
        if (header, (repository, digest)) in self._objects:
            self._tags[header, repository, tag] = digest

    def refused(self, header: Header, repository: Repository, gone: Digest | str | None) -> None:
        """Such were refused all of a repository, or one object, or a tag."""
        for other, one in list(self._objects):
            if other == header and one[0] == repository and gone in (None, one[1]):
                self._objects.remove((other, one))
        for key, digest in list(self._tags.items()):
            if key[:2] == (header, repository) and gone in (None, key[2], digest):
                del self._tags[key]

    def deleted(self, repository: Repository, digest: Digest) -> None:
        """An object was deleted, in view of the cache."""
        for header in (None, ACCOUNT):
            self.refused(header, repository, digest)

    def objects(self) -> list[tuple[Header, Object]]:
        return sorted(self._objects, key=str)

    def tags(self) -> list[tuple[tuple[Header, Repository, str], Digest]]:
        return sorted(self._tags.items(), key=str)
