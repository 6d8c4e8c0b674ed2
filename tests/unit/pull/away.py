"""What is held of one repository while its registry is away."""

import asyncio
from dataclasses import dataclass, replace
from ipaddress import ip_network

from entrepot.auth.grants import Access
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.messages import Request
from entrepot.pull.pull import Pull, TagPull
from entrepot.pull.stale import MAX_STALE, StaleIfError
from entrepot.storage.store import Store
from entrepot.storage.tags import TagEntry
from entrepot.upstream.context import Context

ORIGIN = Origin("https", "registry.example.test", 443)
REPOSITORY, OTHER = Repository(ORIGIN, "app"), Repository(ORIGIN, "other")
TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"layers": []}'
DIGEST, LAYER, CHILD = Digest.of(MANIFEST), Digest.of(b"layer"), Digest.of(b"child")
NOBODY = Request("GET", ORIGIN, "/v2/app/manifests/1", client="10.1.2.3")
ALICE = replace(NOBODY, headers=(("Authorization", "Basic alice"),))


@dataclass
class Away:
    """A proxy whose upstream is away, and what it decides by; the clock is the test's."""

    store: Store
    context: Context
    access: Access
    clock: list[float]

    @property
    def now(self) -> float:
        return self.clock[0]

    def wait(self, seconds: float) -> None:
        self.clock[0] += seconds

    def stale(self, *networks: str, max_stale: float = MAX_STALE) -> StaleIfError:
        return StaleIfError(self.context, max_stale, tuple(ip_network(text) for text in networks))

    def keep(self, repository: Repository = REPOSITORY, *, public: bool) -> None:
        assert self.store.manifests.put(
            repository, DIGEST, MANIFEST, TYPE, given_to=ANYONE if public else None
        )

    def may_have(
        self,
        stale: StaleIfError,
        digest: Digest = DIGEST,
        request: Request = NOBODY,
        repository: Repository = REPOSITORY,
    ) -> bool:
        who = self.access.credentials.of(request)
        return asyncio.run(stale.may_have(Pull(request, repository, digest, who)))

    def find(
        self, stale: StaleIfError, entries: dict[str, TagEntry], accept: str = TYPE
    ) -> Digest | None:
        request = replace(NOBODY, headers=(("Accept", accept),))
        pull = TagPull(request, REPOSITORY, Tag("1"), self.access.credentials.of(NOBODY))
        found = asyncio.run(stale.find(pull, entries))
        return found.digest if found is not None else None
