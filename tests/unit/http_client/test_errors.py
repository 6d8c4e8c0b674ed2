"""Why a request failed, and whether it may do well in a moment."""

import socket

import pytest

from entrepot.config.addresses import Resolve
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.errors import UpstreamError
from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.protocol.identifiers import Origin
from rig.certs import Authority
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, redirect, status
from rig.requests import NAME, OTHER_NAME, SECRET, cut_before_the_head, failure, target


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (Content(bytes(100), length=200, cut_after=100, reset=False), "broke off"),
        (Content(bytes(100), cut_after=10, reset=False), "broke off"),
        (Content(bytes(100_000), cut_after=50_000), "broke off"),
        (Content(bytes(100), chunked=True, cut_after=10, reset=False), "broke off"),
        (Content(bytes(100), gate=Gate(50)), "stopped answering"),
        (cut_before_the_head, "broke off"),
        (redirect(f"http://{OTHER_NAME}/loop?{SECRET}"), "more than 5 redirects"),
        (redirect(f"http://127.0.0.1:1/{SECRET}"), "connection refused"),
    ],
)
def test_an_error_names_host_and_reason_only(
    upstream: HttpClient, plain: FaultServer, handler: Handler, reason: str
) -> None:
    """Short bodies, broken and stalled connections: no path, no query, no credential is said."""
    plain.routes = {"/loop": handler, f"/{SECRET}": handler}
    text = failure(upstream, target(f"/{SECRET}?{SECRET}"))
    assert reason in text
    assert text.startswith(f"http://{NAME}: ") or "redirect" in reason or "refused" in reason
    assert SECRET not in text
    assert "token" not in text
    if isinstance(handler, Content) and handler.gate:
        handler.gate.open()


def test_a_refused_connection_is_an_error(upstream: HttpClient) -> None:
    """Nothing listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", bound.getsockname()[1])
        assert failure(upstream, Target(origin, f"/{SECRET}")) == f"{origin}: connection refused"


@pytest.mark.parametrize("host", ["nothing.invalid", "a" * 63 + ".invalid"])
def test_a_name_that_does_not_resolve_is_an_error(upstream: HttpClient, host: str) -> None:
    """``.invalid`` is nobody's (RFC 6761)."""
    text = failure(upstream, target(f"/{SECRET}", "https", host))
    assert text == f"https://{host}: its name does not resolve"


def test_a_certificate_of_another_authority_is_refused(secure: FaultServer) -> None:
    """The reason is OpenSSL's, the request was never sent."""
    resolve = tuple(Resolve.parse(entry) for entry in secure.resolve)
    upstream = HttpClient(Roots(None, None), resolve=resolve)
    text = failure(upstream, target(f"/{SECRET}", "https"))
    assert text.startswith(f"https://{NAME}: TLS: ")
    assert "certificate" in text
    assert SECRET not in text
    assert not secure.requests
    upstream.close()


def test_a_certificate_of_another_name_is_refused(
    authority: Authority, secure: FaultServer
) -> None:
    """Being sent elsewhere by ``resolve`` does not change whose certificate is wanted."""
    resolve = (Resolve("wrong.example.test", 443, "127.0.0.1", secure.port),)
    upstream = HttpClient(Roots(authority.pem, None), resolve=resolve)
    text = failure(upstream, target("/a", "https", "wrong.example.test"))
    assert text == "https://wrong.example.test: TLS: its certificate is for another name"
    assert not secure.requests
    upstream.close()


def test_plain_http_where_tls_is_spoken_is_an_error(
    upstream: HttpClient, plain: FaultServer
) -> None:
    """A server that does not speak TLS is reported as such."""
    where = Target(Origin("https", "127.0.0.1", plain.port), f"/{SECRET}")
    assert failure(upstream, where).startswith(f"{where.origin}: TLS: ")


def test_an_answer_that_is_no_http_is_an_error(upstream: HttpClient, plain: FaultServer) -> None:
    """Garbage instead of a status line."""

    def garbage(exchange: Exchange) -> None:
        exchange.write(b"220 mail.example.test ESMTP\r\n")
        exchange.cut(reset=False)

    plain.routes = {"/a": garbage}
    assert failure(upstream, target("/a")) == f"http://{NAME}: its answer is no valid HTTP"


# Failures that may pass


def is_passing(upstream: HttpClient, where: Target) -> bool:
    """Whether the error that a request ends in may be gone in a moment."""
    with (
        pytest.raises(UpstreamError) as caught,
        upstream.send("GET", where, (), SendOptions(Follow.ANY)) as reply,
    ):
        reply.read_all(1 << 30)
    return caught.value.passing


def test_what_was_not_answered_may_be_asked_again(upstream: HttpClient, plain: FaultServer) -> None:
    """A refused connection, one that breaks off before the answer, and one that does within."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert is_passing(upstream, Target(Origin("http", "127.0.0.1", port), "/a"))
    assert is_passing(upstream, Target(Origin("https", "127.0.0.1", port), "/a"))
    plain.routes = {
        "/reset": lambda exchange: exchange.cut(),
        "/closed": cut_before_the_head,
        "/within": Content(b"text", cut_after=1),
        "/short": Content(b"text", cut_after=1, reset=False),
    }
    assert all(is_passing(upstream, target(path)) for path in list(plain.routes))


def test_what_will_not_change_is_not_asked_again(
    upstream: HttpClient, plain: FaultServer, secure: FaultServer
) -> None:
    """A name, a certificate, a head that cannot be read, a wait that was long enough."""
    plain.routes = {
        "/circle": redirect("/circle"),
        "/large": status(200, headers={"X": "y" * (1 << 20)}),
        "/smtp": lambda exchange: exchange.raw(b"220 mail.example.test ESMTP\r\n"),
        "/silent": Content(b"text", gate=Gate(1)),
    }
    assert not any(is_passing(upstream, target(path)) for path in list(plain.routes))
    assert not is_passing(upstream, target("/a", host="nowhere.invalid"))
    stranger = HttpClient(
        Roots(None, None), resolve=tuple(Resolve.parse(entry) for entry in secure.resolve)
    )
    assert not is_passing(stranger, target("/a", "https"))
    stranger.close()
