"""The cache: a request for a blob, a manifest or a list in, an answer out.

It knows nothing of mitmproxy; everything it needs comes in through the context. This module finds
the part that answers (``blobs``, ``manifests``, ``lists``), and takes in what passes by: a manifest
that a client put or deleted. Who may have what is decided in ``authorization``, by what
``auth.grants`` remembers; when a tag may be answered, in ``manifests.tag_revalidation``; what is
served while upstream is away, in ``stale``.
"""

from entrepot.auth.token_servers import named_server
from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.errors import AbandonedError, UpstreamError, unavailable
from entrepot.protocol import cache_status
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.protocol.messages import (
    Answer,
    Request,
    error_answer,
    field_values,
    upstream_error,
)
from entrepot.protocol.routes import READS, Blob, Cacheable, Endpoint, ListEndpoint, Manifest
from entrepot.pull.authorization import Authorization
from entrepot.pull.blobs.addresses import Addresses
from entrepot.pull.blobs.fetches import Fetches
from entrepot.pull.blobs.lookup import BlobLookup
from entrepot.pull.lists.attachment_tags import AttachmentTags
from entrepot.pull.lists.knowledge import ListKnowledge
from entrepot.pull.lists.revalidation import Lists
from entrepot.pull.manifests.by_digest import ManifestsByDigest
from entrepot.pull.manifests.fetch import ManifestFetch, NoManifestError
from entrepot.pull.manifests.held import HeldManifests
from entrepot.pull.manifests.tag_history import TagHistory
from entrepot.pull.manifests.tag_revalidation import ManifestsByTag
from entrepot.pull.pull import Pull, TagPull
from entrepot.pull.running import RunningFetch, running_fetches
from entrepot.pull.stale import StaleIfError
from entrepot.push.capture import PushCapture
from entrepot.upstream.context import Context

STOP_SECONDS = 2.0
_TOKEN_SECONDS = 60


class Cache:
    """Answers what can be cached."""

    def __init__(self, context: Context, stale: StaleIfError | None = None) -> None:
        self._context = context
        self._stale = stale = stale or StaleIfError(context)
        self.pushes = PushCapture(context.store_thread, context.events)
        authorization = Authorization(context)
        self._fetches = Fetches(context, authorization)
        self._addresses = Addresses(context, authorization)
        self._blobs = BlobLookup(context, authorization, self._fetches, stale, self._addresses)
        store_thread = context.store_thread
        held = HeldManifests(store_thread, context.events, context.wall)
        self._history = TagHistory(store_thread, context.access, context.clock)
        fetch = ManifestFetch(context, authorization, self._history)
        self._manifests = ManifestsByDigest(context, authorization, held, fetch, stale)
        self._tags = ManifestsByTag(context, authorization, held, fetch, self._history, stale)
        knowledge = ListKnowledge(context, stale)
        self._lists = Lists(context, stale, knowledge)
        self._attachments = AttachmentTags(knowledge, stale)

    @property
    def downloads(self) -> int:
        """How many blobs are being fetched."""
        return len(self._fetches.running)

    @property
    def followers(self) -> int:
        """How many clients wait for the bytes of one of these."""
        return sum(download.file.followers for download in self._fetches.running.values())

    def running(self) -> list[RunningFetch]:
        """What is being fetched now, the earliest first."""
        return running_fetches(self._fetches.running, self._context.clock())

    def settle(self, request: Request) -> Request:
        """The request that is meant by one to an address of the proxy's own (``addresses``)."""
        return self._addresses.settle(request)

    @staticmethod
    def is_cacheable(method: str, endpoint: Endpoint) -> bool:
        """Whether a request is one for :meth:`handle`."""
        return method in READS and isinstance(endpoint, Cacheable)

    async def handle(self, request: Request, endpoint: Cacheable) -> Answer:
        """Answer GET or HEAD of what is content, or a list; never raises for what upstream does."""
        if isinstance(endpoint, Blob | Manifest):
            answer = await self._content(request, endpoint)
        else:
            answer = await self._list(request, endpoint)
        if answer.status == 401 and self._stale.without_token.lacks_one(request):
            answer.close()
            return self._without_token(answer)
        return answer

    async def _list(self, request: Request, endpoint: ListEndpoint) -> Answer:
        how = cache_status.bypass(endpoint.detail)
        try:
            return await self._lists.answer(request, endpoint)
        except AbandonedError as error:
            self._context.events.count(Counter.UPSTREAM_ABANDONED)
            return unavailable(error, how)
        except UpstreamError as error:
            url = f"{request.origin}{request.path}"
            self._context.events.log(Event.UPSTREAM_FAILED, url=url, reason=error)
            if self._context.health.offline:
                told = upstream_error(503, "UNAVAILABLE", request.origin, "the proxy is offline")
                return told.adding(how)
            return unavailable(error, how)

    async def _content(self, request: Request, endpoint: Blob | Manifest) -> Answer:
        repository = Repository(request.origin, endpoint.name)
        try:
            if request.method == "GET":
                await self._pushed(repository, endpoint)
            return await self._answer(request, repository, endpoint)
        except NoManifestError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, repository=repository, reason=error)
            how = cache_status.miss(200)
            told = upstream_error(502, "MANIFEST_INVALID", request.origin, str(error))
            return told.adding(how)
        except AbandonedError as error:
            self._context.events.count(Counter.UPSTREAM_ABANDONED)
            return unavailable(error, cache_status.MISS)
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, repository=repository, reason=error)
            return unavailable(error, cache_status.MISS)

    def _without_token(self, refused: Answer) -> Answer:
        """What is said for upstream's 401, which blames the client's login."""
        server = named_server(field_values(refused.headers, "WWW-Authenticate"))
        reason = None if server is None else self._context.health.reason(server)
        who = "the token server" if server is None else f"the token server {server}"
        why = "" if reason is None else f" ({reason})"
        message = f"a token is wanted, and {who} gave none{why}; try again in a minute"
        detail = {"upstream": server and str(server), "reason": reason or message}
        told = error_answer(
            503, "UNAVAILABLE", message, **{name: said for name, said in detail.items() if said}
        )
        return told.adding(cache_status.MISS, ("Retry-After", str(_TOKEN_SECONDS)))

    async def _pushed(self, repository: Repository, endpoint: Blob | Manifest) -> None:
        """Wait a while for what was pushed just now."""
        if isinstance(endpoint, Blob):
            await self.pushes.blob_settled(repository, endpoint.digest)
        else:
            await self.pushes.manifests_settled(repository)

    async def _answer(
        self, request: Request, repository: Repository, endpoint: Blob | Manifest
    ) -> Answer:
        who = self._context.access.credentials.of(request)
        if isinstance(endpoint, Blob):
            return await self._answer_blob(Pull(request, repository, endpoint.digest, who))
        reference = endpoint.reference
        if isinstance(reference, Digest):
            return await self._manifests.answer(Pull(request, repository, reference, who))
        pull = TagPull(request, repository, reference, who)
        return await self._attachments.answer(pull, self._tags.answer)

    async def _answer_blob(self, pull: Pull) -> Answer:
        where = await self._addresses.answer(pull)
        if where is not None:
            return where
        return self._addresses.completed(pull, await self._blobs.answer(pull))

    async def changed(self, method: str, request: Request, endpoint: Blob | Manifest) -> None:
        """Forget what a client's successful PUT or DELETE made untrue."""
        repository = Repository(request.origin, endpoint.name)
        store, context = self._context.store, self._context
        reference = endpoint.digest if isinstance(endpoint, Blob) else endpoint.reference
        if isinstance(reference, Tag):
            name = reference.name
            self._history.changed(repository, name)
            await context.store_thread.run(lambda: store.tags.forget(repository, name), None)
        elif method == "DELETE":
            digest: Digest = reference
            context.access.forget(repository, digest)
            self._fetches.forget(repository, digest)
            self.pushes.forget(repository, digest)
            await context.store_thread.run(lambda: store.links.remove(repository, digest), None)

    async def close(self) -> None:
        """Stop downloads, keeping what they have, drop unfinished pushes, end the threads."""
        await self._fetches.stop(STOP_SECONDS)
        await self.pushes.stop(STOP_SECONDS)
        self._context.close()
