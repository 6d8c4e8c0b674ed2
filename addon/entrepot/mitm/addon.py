"""The addon: mitmproxy's hooks, each turned into a question to the engine.

A request goes: ``http_connect`` decides intercept or tunnel; ``requestheaders`` lets everything
stream; ``request`` answers what can be cached; ``responseheaders`` watches what passes through.
An exception in a hook would let the request go on unfiltered, so ``request`` turns one into
500: promise 2 fails closed.
"""

import asyncio
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import connection, ctx, exceptions, http, tls
from mitmproxy.proxy import layer

from entrepot import tokens
from entrepot.cache import Cache
from entrepot.config import Config, ConfigError
from entrepot.endpoint import Blob, Endpoint, Manifest, Ping, parse_endpoint
from entrepot.events import logger as events_logger
from entrepot.message import BodyError, Request, cache_status, error_answer
from entrepot.mitm import flows, options
from entrepot.mitm.engine import Engine, Foundation, StartError
from entrepot.mitm.resolving import resolve_on
from entrepot.mitm.serving import BODY, SELF, TUNNEL, Transfer, choose_layer
from entrepot.reference import Origin

DRAIN_SECONDS = 10.0
_NOTE = "entrepot.note"
_ANSWERED = "entrepot.answered"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Note:
    """What was found out about a registry's flow when its request came."""

    request: Request
    endpoint: Endpoint
    token: bool

    @property
    def cacheable(self) -> bool:
        return Cache.is_cacheable(self.request.method, self.endpoint)


class Entrepot:
    """The cache as a mitmproxy addon.

    Without a ``foundation`` it reads its options from mitmproxy's (``entrepot_*``) and lays one.
    """

    def __init__(self, foundation: Foundation | None = None) -> None:
        self._foundation = foundation
        self._engine: Engine | None = None
        self._tunnels: set[str] = set()
        self._sending: dict[str, Transfer] = {}
        self._handling = 0
        self._draining = False
        self._changed = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    def _parts(self) -> Engine:
        """The running parts; no property, since mitmproxy reads every attribute of an addon."""
        if self._engine is None:
            raise RuntimeError("the cache has not started")
        return self._engine

    # Life

    def load(self, loader: Any) -> None:
        """Declare our options."""
        options.add_to(loader)

    def configure(self, updated: set[str]) -> None:
        """Start at the first call, refuse what would break a promise at every later one."""
        if self._engine is not None:
            if any(name.startswith("entrepot_") for name in updated):
                raise exceptions.OptionsError("entrepot's options need a restart")
            try:
                options.check(ctx.options)
            except ConfigError as error:
                raise exceptions.OptionsError(str(error)) from error
        else:
            self._start()

    def _start(self) -> None:
        try:
            options.check(ctx.options)
            foundation = self._foundation or Foundation.lay(self._configuration())
        except (ConfigError, StartError) as error:
            logger.error("%s", error)  # noqa: TRY400 one clear line; mitmproxy ends on it
            return
        self._foundation = foundation
        self._engine = Engine(foundation)
        resolve_on(asyncio.get_running_loop(), foundation.config.resolve)
        ctx.options.update(
            **options.needed(foundation.config, ctx.options),
            **options.trusted_roots(foundation.bundle, foundation.roots.folder),
            confdir=str(foundation.config.data / "ca"),
        )
        _log_to_stderr()

    def _configuration(self) -> Config:
        import os  # noqa: PLC0415

        given = options.given(ctx.options)
        return Config.load(given, os.environ, Path.home(), os.geteuid() == 0)

    def running(self) -> None:
        """Listen where we were told to, and say in one line that the proxy is there."""
        if self._engine is not None:
            self._starting = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        # A script is loaded when mitmproxy already listens on its own default: move it.
        proxyserver = ctx.master.addons.get("proxyserver")
        if not await proxyserver.setup_servers():
            ctx.master.shutdown()
            return
        addresses = dict.fromkeys(_authority(a) for a in proxyserver.listen_addrs())
        foundation = self._parts().foundation
        self._parts().events.info(
            "listening",
            on=",".join(addresses),
            data=foundation.config.data,
            limit=f"{foundation.store.limit / 1024**3:.1f}GiB",
            ca_sha256=foundation.authority.fingerprint,
        )

    async def done(self) -> None:
        """Let running transfers end, for at most ten seconds, then stop."""
        if self._engine is None:
            return
        self._draining = True
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self._sending or self._handling:
            self._changed.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                self._parts().events.warn("cut_at_exit", transfers=len(self._sending))
                break
        self._parts().close()

    # Connections

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Decide whether a CONNECT is intercepted or tunnelled blind."""
        if self._engine is None or self._draining:
            flow.response = http.Response.make(503, "the cache is not running\n")
            return
        if not await self._intercepts(flow):
            flow.metadata[TUNNEL] = True
            self._tunnels.add(flow.client_conn.id)

    async def _intercepts(self, flow: http.HTTPFlow) -> bool:
        origin = flows.origin_of(flow, scheme="https")
        return origin is not None and await self._parts().hosts.intercepts(
            origin, _client(flow.client_conn)
        )

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Put our HTTP layer where mitmproxy's would be, and a blind tunnel where decided."""
        context = nextlayer.context
        if nextlayer.layer is None:
            tunnel = context.client.id in self._tunnels
            nextlayer.layer = choose_layer(context, nextlayer.data_client(), tunnel=tunnel)

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Name the leaf after the CONNECT host where the client names none (an IP address).

        mitmproxy would name it after the address that it listens on, which a constrained
        authority may not sign.
        """
        client, server = data.context.client, data.context.server
        if client.sni is None and server.address is not None:
            client.sni = server.address[0]

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Tunnel a client that refuses our certificate from now on."""
        address = data.context.server.address
        error = data.conn.error or ""
        if address is None or not any(word in error for word in _REFUSALS):
            return
        try:
            origin = Origin.make("https", address[0], address[1])
        except ValueError:
            return
        if self._parts().hosts.refused(origin, _client(data.context.client)):
            self._parts().events.warn(
                "certificate_refused",
                client=_client(data.context.client),
                host=origin.authority,
                tunnelled="10min",
                do="run ca/install.sh on that client and restart its container engine",
            )

    def client_disconnected(self, client: connection.Client) -> None:
        """Forget what was known of a connection."""
        self._tunnels.discard(client.id)
        self._sent(client)

    # Requests

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look at a request before its body comes; bodies are never held."""
        if flow.request.host == SELF or self._engine is None:
            return
        note = await self._note(flow)
        if note is None:
            flow.request.stream = True
            return
        problem = flows.authority_mismatch(flow, note.request.origin)
        if problem is not None:
            self._misdirected(flow, problem)
            return
        flow.metadata[_NOTE] = note
        if note.token:
            flow.request.headers["accept-encoding"] = "identity"
        flow.request.stream = not note.cacheable or flows.has_content(flow)

    async def _note(self, flow: http.HTTPFlow) -> _Note | None:
        """Describe a request to a registry; None for one to anything else."""
        origin = flows.origin_of(flow)
        if origin is None or flow.error is not None:
            return None
        for name in ("proxy-authorization", "proxy-connection"):
            flow.request.headers.pop(name, None)
        if origin.scheme == "http" and not await self._parts().hosts.is_registry(origin):
            return None
        request = flows.request_of(flow, origin)
        endpoint = parse_endpoint(request.method, request.path, request.query)
        token = self._parts().realms.has(origin, request.path)
        return _Note(request, endpoint, token)

    def _misdirected(self, flow: http.HTTPFlow, problem: str) -> None:
        self._parts().events.warn("misdirected", client=_client(flow.client_conn), reason=problem)
        if flows.has_content(flow):
            flow.kill()  # an answer would wait for the body
            return
        message = f"{problem} is not the host that the connection was made to"
        flows.put_answer(flow, error_answer(421, "MISDIRECTED", message))
        flow.metadata[_ANSWERED] = True

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer what can be cached, and what is addressed to the proxy itself."""
        if flow.response is not None or flow.error is not None:
            return
        self._handling += 1
        try:
            await self._answer(flow)
        except Exception:
            logger.exception("the cache failed on a request")
            flows.put_answer(flow, error_answer(500, "UNKNOWN", "the cache failed"))
            flow.metadata[_ANSWERED] = True
        finally:
            self._handling -= 1
            self._changed.set()

    async def _answer(self, flow: http.HTTPFlow) -> None:
        note: _Note | None = flow.metadata.get(_NOTE)
        if flow.request.host == SELF:
            answer = self._parts().pages.answer(flow.request.method, flow.request.path)
        elif note is None or not note.cacheable or flow.request.stream:
            return
        elif isinstance(note.endpoint, Blob | Manifest):
            answer = await self._parts().cache.handle(note.request, note.endpoint)
            if answer.status == 401:
                self._parts().realms.challenged(
                    note.request.origin, [answer.value("WWW-Authenticate") or ""]
                )
        if flow.request.http_version == "HTTP/1.0" and flows.needs_chunks(answer):
            answer.close()
            answer = error_answer(505, "UNSUPPORTED", "HTTP/1.1 is needed for this transfer")
        flows.put_answer(flow, answer)
        flow.metadata[_ANSWERED] = True

    # Responses

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what passes through, and learn from it."""
        response = flow.response
        if response is None or _ANSWERED in flow.metadata:
            return
        response.stream = True
        note: _Note | None = flow.metadata.get(_NOTE)
        if note is None:
            return
        response.headers.add(*cache_status("fwd=bypass", f"detail={note.endpoint.detail}"))
        origin = note.request.origin
        if response.status_code == 401:
            self._parts().realms.challenged(origin, response.headers.get_all("www-authenticate"))
        if isinstance(note.endpoint, Ping):
            await self._learn(origin, response)
        if note.token and response.status_code == 200:
            response.stream = self._watch(note.request)
        if 200 <= response.status_code < 300 and isinstance(note.endpoint, Blob | Manifest):
            await self._parts().cache.changed(note.request.method, note.request, note.endpoint)

    async def _learn(self, origin: Origin, response: http.Response) -> None:
        version = response.headers.get("docker-distribution-api-version", "")
        if response.status_code in (200, 401) and version.startswith("registry/2."):
            await self._parts().hosts.learn(origin)

    def _watch(self, request: Request) -> Any:
        """Make a stream that passes a token endpoint's answer on and takes it in; never raises."""
        seen = bytearray()
        began = self._parts().clock()

        def watch(data: bytes) -> bytes:
            if data and len(seen) <= tokens.MAX_SIZE:
                seen.extend(data)
            elif not data and len(seen) <= tokens.MAX_SIZE:
                self._issued(request, bytes(seen), began)
            return data

        return watch

    def _issued(self, request: Request, content: bytes, began: float) -> None:
        issued = tokens.parse_issued(content)
        if issued is None:
            return
        for token in issued.tokens:
            self._parts().access.token_issued(
                token,
                anonymous=tokens.is_anonymous(request),
                expires=began + issued.seconds,
                now=self._parts().clock(),
            )

    # Sending a body in band (see ``serving``)

    async def entrepot_chunk(self, transfer: Transfer) -> None:
        """Wait for the client to take the last chunk, and get the next."""
        self._sending[transfer.client.id] = transfer
        try:
            await self._writer(transfer.client).drain()
            transfer.chunk = await transfer.body.read()
        except BodyError as error:
            transfer.cut = str(error)
            self._parts().events.warn("cut", client=_client(transfer.client), reason=error)
        except (OSError, KeyError) as error:
            transfer.cut = f"the client has left: {error}"
        if transfer.cut is not None or not transfer.chunk:
            self._sent(transfer.client)

    def _writer(self, client: connection.Client) -> Any:
        handler = ctx.master.addons.get("proxyserver").connections[client.id]
        return handler.transports[client].writer

    def _sent(self, client: connection.Client) -> None:
        if self._sending.pop(client.id, None) is not None:
            self._changed.set()

    def error(self, flow: http.HTTPFlow) -> None:
        """Let go of a body whose client left before it began."""
        body = flow.metadata.pop(BODY, None)
        if body is not None:
            body.close()


_REFUSALS = ("unknown ca", "bad certificate", "certificate unknown", "unsupported certificate")
"""TLS alerts by which a client says that it does not accept our certificate."""


def _client(conn: connection.Connection) -> str:
    return conn.peername[0] if conn.peername else "?"


def _authority(address: tuple[Any, ...]) -> str:
    host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
    return f"{host}:{address[1]}"


def _log_to_stderr() -> None:
    """Give our lines their own way out, whatever mitmproxy's verbosity."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    events_logger.addHandler(handler)
    events_logger.setLevel(logging.INFO)
    events_logger.propagate = False
