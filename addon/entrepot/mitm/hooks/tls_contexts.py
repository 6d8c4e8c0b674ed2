"""TLS towards clients: what a handshake needs is made once for each host, not at every connection.

docker opens a connection for every request, so handshakes are most of what a small answer costs.
mitmproxy reads the leaf and its key into each connection anew, and lets OpenSSL make tickets that
these clients never use: 0.17 of 0.38 ms of CPU (measured).

The leaf itself is mitmproxy's (``TlsConfig.get_cert``). After a change of the authority the one
before signs for some clients (``upstream.discovery.authority_clients``). Where one of mitmproxy's
own options says how a handshake shall be, the context is mitmproxy's too.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from mitmproxy import certs, ctx, tls
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.proxy.context import Context
from OpenSSL import SSL

from entrepot.bounded_map import BoundedMap
from entrepot.mitm.state import ProxyState

CIPHERS_12 = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secret and authenticated only."""

CIPHERS_13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""All of OpenSSL's for TLS 1.3. AES-128, which Go prefers too, first: it is a tenth faster."""

RENEWED_AFTER = timedelta(days=30)
"""Less than the time for which mitmproxy makes a leaf, so that none expires in use."""

_THEIR_OPTIONS = (
    "add_upstream_certs_to_client_chain",
    "ciphers_client",
    "request_client_cert",
    "tls_ecdh_curve_client",
    "tls_version_client_max",
    "tls_version_client_min",
)
_MOST_HOSTS = 128

_ORDINARY = ("Client TLS handshake failed", "TLS Error", "Server TLS handshake failed")
"""Warnings of mitmproxy's for what any client may do, a port scan for one, and for what is told in
a line of ours."""

Key = tuple[str, str, Path | None]
"""What a leaf is made for: the name that the client asks for, the host of its CONNECT, and the file
of the authority before, where that signs."""


class TlsContexts:
    """Gives TLS connections of clients a context that is kept for the host."""

    def __init__(
        self, state: ProxyState, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._state = state
        self._now = now
        self._contexts: BoundedMap[Key, tuple[SSL.Context, datetime]] = BoundedMap(_MOST_HOSTS)
        self._before: certs.CertStore | None = None
        """Of the authority before."""
        self._mitmproxys = False

    def running(self) -> None:
        """Keep failed handshakes out of the log; ``certificate_refused`` counts them."""
        logging.getLogger("mitmproxy.proxy.server").addFilter(_is_news)

    def configure(self, updated: set[str]) -> None:
        """Take in what mitmproxy's options say; another authority needs other leaves."""
        if updated.intersection((*_THEIR_OPTIONS, "certs", "confdir")):
            self._contexts.clear()
            self._before = None
            self._mitmproxys = any(ctx.options.has_changed(name) for name in _THEIR_OPTIONS)

    def tls_start_client(self, data: tls.TlsData) -> None:
        """Begin a handshake with a client."""
        if data.ssl_conn is None and not data.is_dtls and not self._mitmproxys:
            data.ssl_conn = _Connection(self._context(data.context))
            data.ssl_conn.set_accept_state()

    def _context(self, connection: Context) -> SSL.Context:
        client, server = connection.client, connection.server
        host = server.address[0] if server.address else ""
        key = client.sni or client.sockname[0], host, self._state.predecessors.get(client.id)
        known = self._contexts.get(key)
        if known is not None and self._now() - known[1] < RENEWED_AFTER:
            self._contexts.use(key)
            return known[0]
        with self._signing(key[2]):
            context = _make(_leaf(connection, renewed=known is not None))
        self._contexts.put(key, (context, self._now()))
        return context

    @contextmanager
    def _signing(self, predecessor: Path | None) -> Iterator[None]:
        """Have mitmproxy make leaves of another authority meanwhile, if there is one."""
        if predecessor is None:
            yield
            return
        tlsconfig: TlsConfig = ctx.master.addons.get("tlsconfig")
        if self._before is None:
            parameters = Path(ctx.options.confdir) / "mitmproxy-dhparam.pem"
            self._before = certs.CertStore.from_files(predecessor, parameters)
        tlsconfig.certstore, kept = self._before, tlsconfig.certstore
        try:
            yield
        finally:
            tlsconfig.certstore = kept


class _Connection(SSL.Connection):
    """Gives a chunk of a body back in one piece, where mitmproxy asks for 64 KiB at a time.

    Each piece goes through every layer by itself: 0.07 of 0.75 s of CPU a GiB (measured).
    """

    _room = 0

    def sendall(self, buf: Any, flags: int = 0) -> int:
        # A record holds 16 KiB and adds less than 64 bytes (RFC 8446 section 5.2).
        self._room = len(buf) + 64 * (1 + len(buf) // 2**14)
        return super().sendall(buf, flags)

    def bio_read(self, bufsiz: int) -> bytes:
        room, self._room = self._room, 0
        return super().bio_read(max(bufsiz, room))


def _leaf(connection: Context, *, renewed: bool) -> certs.CertStoreEntry:
    """Mitmproxy's certificate for a connection; where ``renewed``, not the one that it has."""
    tlsconfig: TlsConfig = ctx.master.addons.get("tlsconfig")
    entry = tlsconfig.get_cert(connection)
    if renewed:
        store = tlsconfig.certstore
        # Those under a plain name are the administrator's (option certs).
        kept = {k: v for k, v in store.certs.items() if isinstance(k, str) or v is not entry}
        store.certs = kept
        entry = tlsconfig.get_cert(connection)
    return entry


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_ORDINARY)


def _make(leaf: certs.CertStoreEntry) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(CIPHERS_12)
    # Not by its public name, which pyOpenSSL 24 (of mitmproxy 11) does not have.
    if SSL._lib.SSL_CTX_set_ciphersuites(context._context, CIPHERS_13) != 1:  # type: ignore[attr-defined] # noqa: SLF001
        raise RuntimeError(f"OpenSSL does not know {CIPHERS_13!r}")
    context.set_alpn_select_callback(_choose_protocol)
    context.use_certificate(x509.load_pem_x509_certificate(leaf.cert.to_pem()))
    context.use_privatekey(leaf.privatekey)
    if leaf.chain_file is not None:
        context.load_verify_locations(str(leaf.chain_file))
    return context


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    """HTTP/1.1 where it is offered, else none: the other ways to speak HTTP are switched off."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS
