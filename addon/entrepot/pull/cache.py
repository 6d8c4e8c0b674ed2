"""The cache engine: a request for a blob or a manifest in, an answer out.

It knows nothing of mitmproxy; everything it needs comes in through the context. What it may
serve, and to whom, is decided in ``access``, ``freshness`` and ``permission``; this module only
finds the part that answers, and takes in what passes by: a manifest that a client put or
deleted, a challenge, a token that was handed out.
"""

from entrepot.events.counters import Counter
from entrepot.events.table import Event
from entrepot.http_client.errors import AbandonedError, UpstreamError, unavailable
from entrepot.protocol import cache_status
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.protocol.messages import Answer, Request, error_answer
from entrepot.protocol.routes import Blob, Endpoint, Manifest
from entrepot.pull.blobs import Blobs
from entrepot.pull.fetches import Fetches
from entrepot.pull.manifests import Manifests
from entrepot.pull.stale import Outage
from entrepot.push.capture import Pushes
from entrepot.upstream.context import Context

STOP_SECONDS = 2.0
_WITHOUT = "a token is wanted, and the token server did not give one; try again in a minute"
"""What would else be a 401, which blames the client's login."""
_TOKEN_SECONDS = 60


class Cache:
    """Answers what can be cached."""

    def __init__(self, context: Context, outage: Outage | None = None) -> None:
        outage = outage or Outage(context)
        self._context = context
        self._outage = outage
        self.pushes = Pushes(context)
        self._fetches = Fetches(context)
        self._blobs = Blobs(context, self._fetches, outage)
        self._manifests = Manifests(context, outage)

    @property
    def downloads(self) -> int:
        """How many blobs are being fetched."""
        return len(self._fetches.running)

    @staticmethod
    def is_cacheable(method: str, endpoint: Endpoint) -> bool:
        """Whether a request is one for :meth:`handle`."""
        return method in ("GET", "HEAD") and isinstance(endpoint, Blob | Manifest)

    async def handle(self, request: Request, endpoint: Blob | Manifest) -> Answer:
        """Answer GET or HEAD of a blob or a manifest; never raises for what upstream does."""
        repository = Repository(request.origin, endpoint.name)
        try:
            if request.method == "GET":
                await self._pushed(repository, endpoint)
            if isinstance(endpoint, Blob):
                answer = await self._blobs.answer(request, repository, endpoint.digest)
            else:
                answer = await self._manifests.answer(request, repository, endpoint.reference)
        except AbandonedError as error:
            self._context.events.count(Counter.UPSTREAM_ABANDONED)
            return error_answer(502, "UNAVAILABLE", f"upstream: {error}")
        except UpstreamError as error:
            self._context.events.log(Event.UPSTREAM_FAILED, repository=repository, reason=error)
            return unavailable(error, cache_status.MISS)
        if answer.status == 401 and self._outage.wants_token(request):
            answer.close()
            told = error_answer(503, "UNAVAILABLE", _WITHOUT).adding(cache_status.MISS)
            return told.adding(("Retry-After", str(_TOKEN_SECONDS)))
        return answer

    async def _pushed(self, repository: Repository, endpoint: Blob | Manifest) -> None:
        """Wait a while for what was pushed just now."""
        if isinstance(endpoint, Blob):
            await self.pushes.blob_settled(repository, endpoint.digest)
        else:
            await self.pushes.manifests_settled(repository)

    async def changed(self, method: str, request: Request, endpoint: Blob | Manifest) -> None:
        """Forget what a client's successful PUT or DELETE made untrue."""
        repository = Repository(request.origin, endpoint.name)
        store, context = self._context.store, self._context
        reference = endpoint.digest if isinstance(endpoint, Blob) else endpoint.reference
        if isinstance(reference, Tag):
            name = reference.name
            self._manifests.changed(repository, name)
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
