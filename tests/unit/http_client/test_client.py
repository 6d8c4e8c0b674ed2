"""The HTTP client towards registries, against real servers on loopback."""

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from entrepot.config.addresses import Resolve, UpstreamProxy
from entrepot.config.no_proxy import NoProxyEntry
from entrepot.http_client.client import MAX_REDIRECTS, REDIRECTS, Follow, Greeting, Upstream
from entrepot.http_client.connect.trust_store import Roots
from entrepot.http_client.response import Reply, Target, UpstreamError
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields
from rig.certs import Authority
from rig.corporate import CorporateProxy
from rig.faults import Content, Exchange, FaultServer, Gate, Handler, redirect, status

NAME, OTHER_NAME = "registry.example.test", "cdn.example.test"
SECRET = "secret-signature"  # noqa: S105 what no error may say
SENT: Fields = (
    ("Authorization", "Bearer token"),
    ("Cookie", "session=1"),
    ("X-Unknown", "1"),
    ("Accept", "a/b"),
    ("Accept", "c/d"),
    ("User-Agent", "docker"),
    ("Range", "bytes=5-"),
    ("Accept-Encoding", "identity"),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def servers(authority: Authority) -> Iterator[tuple[FaultServer, FaultServer]]:
    """A server of plain HTTP, and one of TLS."""
    plain, secure = FaultServer(None), FaultServer(authority, NAME, OTHER_NAME)
    yield plain, secure
    plain.stop()
    secure.stop()


@pytest.fixture
def plain(servers: tuple[FaultServer, FaultServer]) -> FaultServer:
    servers[0].reset()
    return servers[0]


@pytest.fixture
def secure(servers: tuple[FaultServer, FaultServer]) -> FaultServer:
    servers[1].reset()
    return servers[1]


@pytest.fixture
def upstream(authority: Authority, plain: FaultServer, secure: FaultServer) -> Iterator[Upstream]:
    """A client that finds both names at the servers and gives a stalled read 0.2 s."""
    resolve = (
        *(Resolve.parse(entry) for entry in secure.resolve),
        *(Resolve(name, 80, "127.0.0.1", plain.port) for name in (NAME, OTHER_NAME)),
    )
    upstream = Upstream(Roots(authority.pem, None), resolve=resolve, read_seconds=0.2)
    yield upstream
    upstream.close()


def target(path: str, scheme: str = "http", host: str = NAME) -> Target:
    return Target(Origin(scheme, host, 443 if scheme == "https" else 80), path)


def get(upstream: Upstream, path: str, *fields: tuple[str, str]) -> tuple[int, bytes]:
    with upstream.send("GET", target(path), fields, follow=Follow.ANY) as reply:
        return reply.status, reply.read_all(1 << 20)


# Redirects


@pytest.mark.parametrize("code", sorted(REDIRECTS))
def test_every_redirect_is_followed(upstream: Upstream, plain: FaultServer, code: int) -> None:
    """301, 302, 303, 307 and 308 all lead on, by the same method."""
    plain.routes = {"/a": redirect("/b", code), "/b": status(200, b"here")}
    assert get(upstream, "/a") == (200, b"here")
    assert [seen.method for seen in plain.requests] == ["GET", "GET"]


@pytest.mark.parametrize("code", [300, 304, 305, 306])
def test_other_codes_are_no_redirects(upstream: Upstream, plain: FaultServer, code: int) -> None:
    """They are upstream's answer, with or without a Location."""
    plain.routes = {"/a": redirect("/b", code)}
    assert get(upstream, "/a")[0] == code


@pytest.mark.parametrize(
    ("location", "path", "query"),
    [
        ("/x/y?z=1", "/x/y", "z=1"),
        ("y", "/v2/y", ""),
        ("../y", "/y", ""),
        ("?z=1", "/v2/a", "z=1"),
        (f"//{OTHER_NAME}/y", "/y", ""),
        (f"http://{OTHER_NAME}/y?z=1", "/y", "z=1"),
        (f"http://{OTHER_NAME}?z=1", "/", "z=1"),
        ("/y?sig=a%2Fb%3D", "/y", "sig=a%2Fb%3D"),
    ],
)
def test_locations_are_followed_as_they_are_meant(
    upstream: Upstream, plain: FaultServer, location: str, path: str, query: str
) -> None:
    """Relative ones too (RFC 9110 section 10.2.2), their escapes untouched."""
    plain.routes = {"/v2/a": redirect(location)}
    if path != "/v2/a":
        plain.routes[path] = status(200)
    get_or_give_up(upstream, "/v2/a")
    assert (plain.requests[1].path, plain.requests[1].query) == (path, query)


def get_or_give_up(upstream: Upstream, path: str) -> None:
    """Follow redirects, also ones that never end."""
    try:
        get(upstream, path)
    except UpstreamError as error:
        assert "redirects" in str(error)  # noqa: PT017 both ends are well


@pytest.mark.parametrize("location", ["http://[", "ftp://a/b", "http://a:99999/"])
def test_an_unusable_location_is_upstreams_answer(
    upstream: Upstream, plain: FaultServer, location: str
) -> None:
    """A redirect that leads nowhere is returned as it came."""
    plain.routes = {"/a": redirect(location)}
    with upstream.send("GET", target("/a"), (), follow=Follow.ANY) as reply:
        assert (reply.status, reply.value("Location")) == (307, location)


def test_a_redirect_is_not_followed_unasked(upstream: Upstream, plain: FaultServer) -> None:
    """Where only the decision counts, the redirect is the answer."""
    plain.routes = {"/a": redirect("/b"), "/b": status(200)}
    with upstream.send("GET", target("/a"), (), follow=Follow.NO) as reply:
        assert (reply.status, reply.value("Location")) == (307, "/b")


def test_five_redirects_are_followed(upstream: Upstream, plain: FaultServer) -> None:
    """The fifth still leads somewhere."""
    plain.routes = {f"/{n}": redirect(f"/{n + 1}") for n in range(MAX_REDIRECTS)}
    plain.routes["/5"] = status(200, b"here")
    assert get(upstream, "/0") == (200, b"here")


def test_a_sixth_redirect_is_an_error(upstream: Upstream, plain: FaultServer) -> None:
    """A loop ends, and the error names the host only."""
    plain.routes = {"/a": redirect(f"/a?{SECRET}")}
    with pytest.raises(UpstreamError, match="more than 5 redirects") as caught:
        get(upstream, "/a")
    assert SECRET not in str(caught.value)
    assert len(plain.requests) == 1 + MAX_REDIRECTS


def test_credentials_stay_with_their_host(upstream: Upstream, plain: FaultServer) -> None:
    """Another host gets what it needs for the bytes, and nothing that says who asks."""
    plain.routes = {"/a": redirect(f"http://{OTHER_NAME}/b"), "/b": status(200)}
    get(upstream, "/a", *SENT)
    first, second = plain.requests
    assert (first.host, second.host) == (NAME, OTHER_NAME)
    assert {"authorization", "cookie", "x-unknown"} <= set(first.headers)
    assert set(second.headers) == {"host", "accept", "user-agent", "range", "accept-encoding"}


def test_the_same_host_gets_all_again(upstream: Upstream, plain: FaultServer) -> None:
    """A redirect within the origin keeps every field."""
    plain.routes = {"/a": redirect("/b"), "/b": status(200)}
    get(upstream, "/a", *SENT)
    first, second = plain.requests
    assert first.headers == second.headers


def test_credentials_do_not_come_back(upstream: Upstream, plain: FaultServer) -> None:
    """Who was led away and back again does not get what was dropped on the way."""
    plain.routes = {
        "/a": redirect(f"http://{OTHER_NAME}/b"),
        "/b": redirect(f"http://{NAME}/c"),
        "/c": status(200),
    }
    get(upstream, "/a", *SENT)
    assert [seen.authorization for seen in plain.requests] == ["Bearer token", None, None]


def test_another_scheme_is_another_host(
    upstream: Upstream, plain: FaultServer, secure: FaultServer
) -> None:
    """From http to https of one name credentials are dropped as well: it is another origin."""
    plain.routes = {"/a": redirect(f"https://{NAME}/b")}
    secure.routes = {"/b": status(200, b"secure")}
    assert get(upstream, "/a", *SENT) == (200, b"secure")
    assert secure.requests[0].authorization is None


@pytest.mark.parametrize(("downgrade", "code"), [(False, 307), (True, 200)])
def test_a_step_down_is_taken_only_where_allowed(
    upstream: Upstream,
    plain: FaultServer,
    secure: FaultServer,
    downgrade: bool,  # noqa: FBT001 a column of the table
    code: int,
) -> None:
    """From https to plain http only content that its digest names is followed."""
    secure.routes = {"/a": redirect(f"http://{NAME}/b")}
    plain.routes = {"/b": status(200)}
    origin = target("/a", "https")
    with upstream.send("GET", origin, SENT, follow=Follow.ANY, downgrade=downgrade) as reply:
        assert reply.status == code
    assert [seen.authorization for seen in plain.requests] == [None] * (code == 200)


def test_a_reply_knows_where_it_came_from(upstream: Upstream, plain: FaultServer) -> None:
    """Its target is the last one."""
    plain.routes = {"/a": redirect(f"http://{OTHER_NAME}/b"), "/b": status(200)}
    with upstream.send("GET", target("/a"), (), follow=Follow.ANY) as reply:
        assert reply.target == target("/b", host=OTHER_NAME)


# Requests


def test_a_request_goes_out_as_it_was_given(upstream: Upstream, plain: FaultServer) -> None:
    """Host, repeated fields, raw path and query; nothing is added that a registry could see."""
    plain.routes = {"/v2/a%2Fb": status(200)}
    get(upstream, "/v2/a%2Fb?x=%41&y", ("Accept", "a/b"), ("Accept-Encoding", "identity"))
    (seen,) = plain.requests
    assert (seen.path, seen.query, seen.host) == ("/v2/a%2Fb", "x=%41&y", NAME)
    assert seen.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [b"no gzip at all", b"", gzip.compress(bytes(2000), mtime=0)])
@pytest.mark.parametrize("coding", ["gzip", "br", "identity", "nonsense"])
def test_what_is_only_marked_as_encoded_comes_as_it_is(
    upstream: Upstream, plain: FaultServer, body: bytes, coding: str
) -> None:
    """A digest names a layer's own compression, whatever Content-Encoding says."""
    plain.routes = {"/a": status(200, body, {"Content-Encoding": coding})}
    assert get(upstream, "/a") == (200, body)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_what_was_compressed_unasked_is_decoded(
    upstream: Upstream, plain: FaultServer, coding: str
) -> None:
    """Its length is then unknown, and its head does not speak of a coding any more."""
    text = json.dumps({"layers": list(range(100_000))}).encode()
    sent = gzip.compress(text, mtime=0)
    plain.routes = {"/a": status(200, sent, {"Content-Encoding": coding, "ETag": '"x"'})}
    with upstream.send("GET", target("/a"), (), follow=Follow.ANY) as reply:
        assert (reply.length, reply.is_delimited) == (None, True)
        assert (reply.value("Content-Encoding"), reply.value("ETag")) == (None, '"x"')
        assert "content-length" not in {name.lower() for name, _ in reply.headers}
        assert reply.read_all(1 << 20) == text


def test_a_compressed_body_that_explodes_comes_in_pieces(
    upstream: Upstream, plain: FaultServer
) -> None:
    """However much is in it, no more is made of it than was asked for."""
    bomb = gzip.compress(b"{" + bytes(50_000_000), mtime=0)
    plain.routes = {"/a": status(200, bomb, {"Content-Encoding": "gzip"})}
    with upstream.send("GET", target("/a"), (), follow=Follow.ANY) as reply:
        assert 0 < len(reply.read(1000)) <= 1000
        assert len(reply.read_all(100_000)) == 100_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda sent: sent[:-4], "its gzip body is cut"),
        (lambda sent: sent[:-8] + bytes(8), "its gzip body is damaged"),
        (lambda sent: sent + b"more", "its gzip body is damaged"),
    ],
)
def test_a_compressed_body_that_is_not_whole_is_an_error(
    upstream: Upstream, plain: FaultServer, change: Callable[[bytes], bytes], why: str
) -> None:
    """It ends like one whose connection broke, not like a whole one."""
    sent = change(gzip.compress(b'{"layers": []}' * 1000, mtime=0))
    plain.routes = {"/a": status(200, sent, {"Content-Encoding": "gzip"})}
    assert failure(upstream, target("/a")) == f"http://{NAME}: {why}"


def test_chunks_count_more_than_a_length(upstream: Upstream, plain: FaultServer) -> None:
    """Content-Length means nothing beside Transfer-Encoding (RFC 9112 section 6.3)."""

    def both(exchange: Exchange) -> None:
        exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange.raw(b"2\r\nok\r\n0\r\n\r\n")

    plain.routes = {"/a": both}
    with upstream.send("GET", target("/a"), (), follow=Follow.ANY) as reply:
        assert (reply.length, reply.is_delimited, reply.read_all(100)) == (None, True, b"ok")


def test_a_plain_request_through_a_proxy_names_its_origin(plain: FaultServer) -> None:
    """Absolute-form and the proxy's own credentials (RFC 9112 section 3.2.2)."""
    plain.routes = {f"http://{NAME}/v2/": status(200, b"proxied")}
    proxy = UpstreamProxy.parse(f"http://user:pass@127.0.0.1:{plain.port}")
    upstream = Upstream(Roots(None, None), proxy=proxy)
    assert get(upstream, "/v2/") == (200, b"proxied")
    assert plain.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    upstream.close()


def refused_by_proxy(url: str, where: Target) -> UpstreamError:
    """How a request ends that a proxy does not let through."""
    upstream = Upstream(Roots(None, None), proxy=UpstreamProxy.parse(url))
    try:
        with pytest.raises(UpstreamError) as caught:
            upstream.send("GET", where, (), follow=Follow.ANY)
    finally:
        upstream.close()
    return caught.value


@pytest.mark.parametrize(
    ("scheme", "code", "why", "passing"),
    [
        # Without a tunnel all but 407 could as well be the registry's own answer.
        ("http", 407, "it wants a user and password, or others (407)", False),
        ("https", 407, "it wants a user and password, or others (407)", False),
        ("https", 403, "it answered CONNECT with 403", False),
        ("https", 502, "it answered CONNECT with 502", True),
        ("https", 503, "it answered CONNECT with 503", True),
    ],
)
def test_a_proxy_that_refuses_makes_a_registry_unreachable(
    plain: FaultServer,
    scheme: str,
    code: int,
    why: str,
    passing: bool,  # noqa: FBT001
) -> None:
    """The error says so, and counts as a connection that could not be made."""
    plain.routes = {f"{NAME}:443": status(code), f"http://{NAME}/v2/": status(code)}
    url = f"http://me:{SECRET}@127.0.0.1:{plain.port}"
    error = refused_by_proxy(url, target("/v2/", scheme))
    assert str(error) == f"{scheme}://{NAME}: the upstream proxy: {why}"
    assert (error.passing, error.connected, error.slow) == (passing, False, False)


def test_a_proxy_that_hangs_makes_a_registry_slow() -> None:
    """It takes the deadline of a connection to know, and no connection was made."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = UpstreamProxy.parse(f"http://127.0.0.1:{silent.getsockname()[1]}")
        upstream = Upstream(Roots(None, None), proxy=proxy, connect_seconds=0.1)
        with pytest.raises(UpstreamError, match="the upstream proxy: no answer in time") as caught:
            upstream.send("GET", target("/v2/", "https"), (), follow=Follow.ANY)
        upstream.close()
    assert (caught.value.connected, caught.value.slow) == (False, True)


def test_what_is_reached_past_a_proxy_is_found_by_resolve(
    authority: Authority, secure: FaultServer
) -> None:
    """And what goes by it is not: the proxy finds that itself."""
    secure.routes = {"/a": status(200, b"here")}
    proxy = CorporateProxy(secure.resolve)
    upstream = Upstream(
        Roots(authority.pem, None),
        resolve=(
            Resolve(NAME, 443, "127.0.0.1", secure.port),
            Resolve(OTHER_NAME, 443, "127.0.0.1", 9),
        ),
        proxy=UpstreamProxy.parse(proxy.url),
        no_proxy=(NoProxyEntry.parse(NAME),),
    )
    try:
        for host in (NAME, OTHER_NAME):
            with upstream.send("GET", target("/a", "https", host), (), follow=Follow.ANY) as reply:
                assert reply.read_all(100) == b"here"
    finally:
        upstream.close()
        proxy.stop()
    assert proxy.targets == [f"{OTHER_NAME}:443"]


@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_greeting_leaves_its_connection_for_what_comes_next(
    authority: Authority,
    secure: FaultServer,
    by_proxy: bool,  # noqa: FBT001 the parameter
) -> None:
    """Whether there is a proxy on the way; where nothing is asked, nothing is kept."""
    ports = []

    def answer(exchange: Exchange) -> None:
        ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        exchange.send(404)

    secure.instead, proxy = answer, CorporateProxy(secure.resolve)
    resolve = tuple(Resolve.parse(entry) for entry in secure.resolve)
    way = UpstreamProxy.parse(proxy.url) if by_proxy else None
    upstream = Upstream(Roots(authority.pem, None), resolve=resolve, proxy=way)
    where = target("/a", "https")
    try:
        assert upstream.greet(where.origin, 5, ask=False) == Greeting()
        assert upstream.greet(where.origin, 5, ask=True) == Greeting(status=404)
        for _ in range(2):
            upstream.send("GET", where, (), follow=Follow.NO).drain()
    finally:
        upstream.close()
        proxy.stop()
    assert [seen.method for seen in secure.requests] == ["HEAD", "GET", "GET"]
    assert len(set(ports)) == 1
    assert len(proxy.targets) == 2 * by_proxy


@pytest.mark.parametrize("insist", [False, True])
def test_a_server_that_asks_for_a_certificate_is_known_by_its_handshake(
    upstream: Upstream,
    authority: Authority,
    secure: FaultServer,
    insist: bool,  # noqa: FBT001 the parameter
) -> None:
    """In TLS 1.2 and 1.3, whether it can do without or not; not every server does."""
    leaf, origin = authority.issue(NAME, OTHER_NAME), target("/", "https").origin
    assert not upstream.greet(origin, 5, ask=True).wants_certificate
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = leaf.asking_context(authority.pem, insist=insist)
        context.maximum_version = most
        secure.show(context)
        for ask in (False, True):
            assert upstream.greet(origin, 5, ask=ask).wants_certificate
    secure.show(leaf.server_context())


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("7", 7),
        ("0", 0),
        ("-1", None),
        ("+7", None),
        ("7 7", None),
        ("x", None),
        ("9" * 5000, None),
    ],
)
def test_only_a_number_is_a_length(
    upstream: Upstream, plain: FaultServer, text: str, length: int | None
) -> None:
    """Whatever stands in Content-Length, asking for it is no error."""
    plain.routes = {"/a": status(200, headers={"Content-Length": text})}
    with upstream.send("HEAD", target("/a"), (), follow=Follow.NO) as reply:
        assert reply.length == length


def test_reading_all_reads_no_more_than_asked(upstream: Upstream, plain: FaultServer) -> None:
    """A body without an end costs bounded memory."""
    plain.routes = {"/a": Content(bytes(1_000_000))}
    with upstream.send("GET", target("/a"), (), follow=Follow.NO) as reply:
        assert len(reply.read_all(300_000)) == 300_000


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("http://a.test", Target(Origin("http", "a.test", 80), "/")),
        ("https://A.test:443/x?y=1#z", Target(Origin("https", "a.test", 443), "/x?y=1")),
        ("https://[::1]:5000/", Target(Origin("https", "::1", 5000), "/")),
    ],
)
def test_an_absolute_url_is_split(url: str, parsed: Target) -> None:
    """Origin, path and query; a fragment is the client's own."""
    assert Target.parse(url) == parsed


@pytest.mark.parametrize("url", ["", "/a", "a.test", "ftp://a.test/", "http://", "http://a:b/"])
def test_anything_else_is_no_url(url: str) -> None:
    """Other schemes, and URLs without a host, are refused."""
    with pytest.raises(ValueError, match=r"."):
        Target.parse(url)


# Failures


def failure(upstream: Upstream, where: Target, method: str = "GET") -> str:
    """The text of the error that a request ends in."""
    with (
        pytest.raises(UpstreamError) as caught,
        upstream.send(method, where, SENT, follow=Follow.ANY) as reply,
    ):
        reply.read_all(1 << 30)
    return str(caught.value)


def cut_before_the_head(exchange: Exchange) -> None:
    exchange.cut(reset=False)


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
    upstream: Upstream, plain: FaultServer, handler: Handler, reason: str
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


def test_a_server_that_never_answers_is_given_up(upstream: Upstream, plain: FaultServer) -> None:
    """A head that does not come within the time for a read is an error."""
    wait = threading.Event()
    plain.routes = {"/a": Content(b"late", wait=wait)}
    assert failure(upstream, target("/a")) == f"http://{NAME}: it stopped answering"
    wait.set()


def test_the_caller_may_be_less_patient(authority: Authority, plain: FaultServer) -> None:
    """``seconds`` bounds a wait where the usual ones are too long."""
    upstream = Upstream(Roots(authority.pem, None), read_seconds=60)
    wait = threading.Event()
    plain.routes = {"/a": Content(b"late", wait=wait)}
    where = Target(Origin("http", "127.0.0.1", plain.port), "/a")
    with pytest.raises(UpstreamError, match="stopped answering"):
        upstream.send("GET", where, (), follow=Follow.NO, seconds=0.1)
    wait.set()
    upstream.close()


def test_a_refused_connection_is_an_error(upstream: Upstream) -> None:
    """Nothing listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        origin = Origin("http", "127.0.0.1", bound.getsockname()[1])
        assert failure(upstream, Target(origin, f"/{SECRET}")) == f"{origin}: connection refused"


@pytest.mark.parametrize("host", ["nothing.invalid", "a" * 63 + ".invalid"])
def test_a_name_that_does_not_resolve_is_an_error(upstream: Upstream, host: str) -> None:
    """``.invalid`` is nobody's (RFC 6761)."""
    text = failure(upstream, target(f"/{SECRET}", "https", host))
    assert text == f"https://{host}: its name does not resolve"


def test_a_certificate_of_another_authority_is_refused(secure: FaultServer) -> None:
    """The reason is OpenSSL's, the request was never sent."""
    resolve = tuple(Resolve.parse(entry) for entry in secure.resolve)
    upstream = Upstream(Roots(None, None), resolve=resolve)
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
    upstream = Upstream(Roots(authority.pem, None), resolve=resolve)
    text = failure(upstream, target("/a", "https", "wrong.example.test"))
    assert text == "https://wrong.example.test: TLS: its certificate is for another name"
    assert not secure.requests
    upstream.close()


def test_plain_http_where_tls_is_spoken_is_an_error(upstream: Upstream, plain: FaultServer) -> None:
    """A server that does not speak TLS is reported as such."""
    where = Target(Origin("https", "127.0.0.1", plain.port), f"/{SECRET}")
    assert failure(upstream, where).startswith(f"{where.origin}: TLS: ")


def test_an_answer_that_is_no_http_is_an_error(upstream: Upstream, plain: FaultServer) -> None:
    """Garbage instead of a status line."""

    def garbage(exchange: Exchange) -> None:
        exchange.write(b"220 mail.example.test ESMTP\r\n")
        exchange.cut(reset=False)

    plain.routes = {"/a": garbage}
    assert failure(upstream, target("/a")) == f"http://{NAME}: its answer is no valid HTTP"


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: 1", "/\N{SNOWMAN}"])
def test_a_path_that_cannot_be_sent_is_an_error(
    upstream: Upstream, plain: FaultServer, path: str
) -> None:
    """No request is smuggled by a Location of control characters."""
    try:
        with upstream.send("GET", target(path), (), follow=Follow.NO):
            pass
    except UpstreamError as error:
        assert path not in str(error)  # noqa: PT017 both ends are well
    assert all("x" not in seen.headers for seen in plain.requests)


# Failures that may pass


def is_passing(upstream: Upstream, where: Target) -> bool:
    """Whether the error that a request ends in may be gone in a moment."""
    with (
        pytest.raises(UpstreamError) as caught,
        upstream.send("GET", where, (), follow=Follow.ANY) as reply,
    ):
        reply.read_all(1 << 30)
    return caught.value.passing


def test_what_was_not_answered_may_be_asked_again(upstream: Upstream, plain: FaultServer) -> None:
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
    upstream: Upstream, plain: FaultServer, secure: FaultServer
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
    stranger = Upstream(
        Roots(None, None), resolve=tuple(Resolve.parse(entry) for entry in secure.resolve)
    )
    assert not is_passing(stranger, target("/a", "https"))
    stranger.close()


# Connections


class Connections:
    """Answers with the number of the connection that a request came by."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.ports: list[int] = []

    def __call__(self, exchange: Exchange) -> None:
        self.ports.append(exchange._handler.client_address[1])  # noqa: SLF001 the rig hides it
        exchange.send(200, self.body)


@pytest.mark.parametrize(
    ("size", "read", "connections"),
    [
        (0, 0, 1),
        (10, 0, 1),
        (10, 10, 1),
        (10, 5, 1),
        (1_000_000, 1_000_000, 1),
        (1_000_000, 1_000_000 - 10_000, 1),
        (10_000_000, 0, 2),
        (10_000_000, 100_000, 2),
    ],
)
def test_a_connection_is_used_again_where_little_is_left_of_a_body(
    upstream: Upstream, plain: FaultServer, size: int, read: int, connections: int
) -> None:
    """Reading a few bytes is cheaper than a new connection; reading many is not."""
    handler = Connections(bytes(size))
    plain.routes = {"/a": handler}
    for _ in range(2):
        reply = upstream.send("GET", target("/a"), (), follow=Follow.NO)
        assert len(reply.read_all(read)) == read
        reply.drain()
    assert len(set(handler.ports)) == connections


def test_a_head_leaves_its_connection_for_the_next(upstream: Upstream, plain: FaultServer) -> None:
    """The length that HEAD announces is not waited for."""
    handler = Connections(bytes(10_000_000))
    plain.routes = {"/a": handler}
    for _ in range(2):
        with upstream.send("HEAD", target("/a"), (), follow=Follow.NO) as reply:
            assert reply.length == 10_000_000
    assert len(set(handler.ports)) == 1


def test_a_redirect_leaves_its_connection_for_the_next(
    upstream: Upstream, plain: FaultServer
) -> None:
    """What a redirect says beside its Location is read and dropped."""
    handler = Connections(b"")
    plain.routes = {"/a": status(307, b"moved", {"Location": "/b"}), "/b": handler}
    get(upstream, "/b")
    get(upstream, "/a")
    assert len(set(handler.ports)) == 1


def test_a_broken_reply_can_be_closed(upstream: Upstream, plain: FaultServer) -> None:
    """After an error, and twice."""
    plain.routes = {"/a": Content(bytes(100), cut_after=10, reset=False)}
    reply: Reply = upstream.send("GET", target("/a"), (), follow=Follow.NO)
    with pytest.raises(UpstreamError):
        reply.read_all(100)
    reply.close()
    reply.close()


def test_a_connection_that_the_server_closed_is_not_used_again(
    upstream: Upstream, plain: FaultServer
) -> None:
    """An idle connection that ended meanwhile costs nothing but a new one."""

    def once(exchange: Exchange) -> None:
        exchange.send(200, b"x", {"Connection": "close"})

    plain.routes = {"/a": once}
    assert [get(upstream, "/a") for _ in range(2)] == [(200, b"x")] * 2


class Impatient:
    """Ends a connection at its second request, before any answer, as an idle timer may just then.

    ``patience`` is how many requests a connection serves.
    """

    def __init__(self, *, reset: bool, patience: int = 1) -> None:
        self.reset = reset
        self.patience = patience
        self.served: dict[int, int] = {}
        self.cuts = 0

    def __call__(self, exchange: Exchange) -> None:
        content = exchange.read_body()
        port = exchange._handler.client_address[1]  # noqa: SLF001 the rig hides it
        self.served[port] = self.served.get(port, 0) + 1
        if self.served[port] > self.patience:
            self.cuts += 1
            exchange.cut(reset=self.reset)
        else:
            exchange.send(200, b"well" + content)


@pytest.mark.parametrize(
    ("method", "content", "body"),
    [("GET", None, b"well"), ("HEAD", None, b""), ("POST", b"a=b", b"wella=b")],
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_ends_just_as_it_is_used_again_is_replaced(
    upstream: Upstream,
    plain: FaultServer,
    secure: FaultServer,
    scheme: str,
    reset: bool,  # noqa: FBT001 a column of the table
    method: str,
    content: bytes | None,
    body: bytes,
) -> None:
    """The race with a server's idle timer costs a new connection, never an error."""
    server, handler = secure if scheme == "https" else plain, Impatient(reset=reset)
    server.routes = {"/a": handler}
    where = target("/a", scheme)
    for _ in range(2):
        with upstream.send(method, where, (), follow=Follow.NO, content=content) as reply:
            assert (reply.status, reply.read_all(100)) == (200, body)
    assert (handler.cuts, len(server.requests), len(handler.served)) == (1, 3, 2)


def test_a_tunnel_that_ends_just_as_it_is_used_again_is_replaced(
    authority: Authority, secure: FaultServer
) -> None:
    """Through a corporate proxy the new connection is a new tunnel."""
    secure.routes = {"/a": Impatient(reset=False)}
    proxy = CorporateProxy(secure.resolve)
    upstream = Upstream(Roots(authority.pem, None), proxy=UpstreamProxy.parse(proxy.url))
    try:
        for _ in range(2):
            with upstream.send("GET", target("/a", "https"), (), follow=Follow.NO) as reply:
                assert reply.read_all(100) == b"well"
    finally:
        upstream.close()
        proxy.stop()
    assert (proxy.targets, proxy.refused) == ([f"{NAME}:443"] * 2, [])
    assert len(secure.requests) == 3


def test_one_ended_connection_speaks_for_the_other_idle_ones(
    upstream: Upstream, plain: FaultServer
) -> None:
    """A server that restarted has ended them all: later requests do not try them in turn."""
    before, cut = Connections(b"well"), Connections(b"")

    def restarted(exchange: Exchange) -> None:
        port = exchange._handler.client_address[1]  # noqa: SLF001 the rig hides it
        if port in before.ports:
            cut.ports.append(port)
            exchange.cut()
        else:
            exchange.send(200, b"well")

    plain.routes = {"/a": before}
    replies = [upstream.send("GET", target("/a"), (), follow=Follow.NO) for _ in range(4)]
    for reply in replies:
        reply.drain()
    plain.routes = {"/a": restarted}
    replies = [upstream.send("GET", target("/a"), (), follow=Follow.NO) for _ in range(4)]
    assert [reply.read_all(100) for reply in replies] == [b"well"] * 4
    assert len(cut.ports) == 1


def test_a_request_is_sent_again_only_once(upstream: Upstream, plain: FaultServer) -> None:
    """Where the new connection ends without an answer as well, that is the answer."""
    handler = Impatient(reset=False)
    plain.routes = {"/a": handler}
    get(upstream, "/a")
    handler.patience = 0
    assert failure(upstream, target("/a")) == f"http://{NAME}: the connection broke off"
    assert len(plain.requests) == 3


def test_a_new_connection_that_ends_is_not_tried_again(
    upstream: Upstream, plain: FaultServer
) -> None:
    """A server that never answers is told of at once."""
    plain.routes = {"/a": cut_before_the_head}
    assert failure(upstream, target("/a")) == f"http://{NAME}: the connection broke off"
    assert len(plain.requests) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_drained_body_leaves_its_connection_whatever_its_coding(
    upstream: Upstream,
    plain: FaultServer,
    chunked: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A small body of unknown length is read to its end as one of known length is."""
    handler = Connections(b"")
    plain.routes = {"/a": Content(b"moved", chunked=chunked), "/b": handler}
    get(upstream, "/b")
    upstream.send("GET", target("/a"), (), follow=Follow.NO).drain()
    get(upstream, "/b")
    assert len(set(handler.ports)) == 1


def test_an_idle_connection_is_kept_alive(upstream: Upstream, plain: FaultServer) -> None:
    """A path that forgot the connection is found out by the kernel, not by the next request."""
    plain.routes = {"/a": status(200)}
    reply = upstream.send("GET", target("/a"), (), follow=Follow.NO)
    sock: socket.socket = reply._response.connection.sock  # type: ignore[union-attr] # noqa: SLF001
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    reply.close()


# Bodies that drip


def drips(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Send a byte often enough for any single wait, for at least half a minute."""
    exchange.raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    ended = threading.Event()
    try:
        for _ in range(600):
            exchange.raw(body)
            ended.wait(0.05)
    except OSError:
        exchange.cut()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 600", b"x"),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        (b"Transfer-Encoding: chunked", b"0"),
        (b"Connection: close", b"x"),
    ],
    ids=["length", "chunks", "a chunk's head", "until it closes"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_whole_body_has_a_deadline(
    upstream: Upstream,
    plain: FaultServer,
    secure: FaultServer,
    scheme: str,
    head: bytes,
    body: bytes,
) -> None:
    """Not only each wait for a part of it: who drips would else have a thread for ever."""
    server = plain if scheme == "http" else secure
    server.routes = {"/a": lambda exchange: drips(exchange, head, body)}
    with (
        upstream.send("GET", target("/a", scheme), (), follow=Follow.NO) as reply,
        pytest.raises(UpstreamError, match="it stopped answering"),
    ):
        reply.read_all(1 << 20, 0.4)


def test_a_single_read_has_a_deadline(upstream: Upstream, plain: FaultServer) -> None:
    """The head of a chunk may not drip for longer than a byte may take."""
    chunked = b"Transfer-Encoding: chunked"
    plain.routes = {"/a": lambda exchange: drips(exchange, chunked, b"0")}
    with (
        upstream.send("GET", target("/a"), (), follow=Follow.NO) as reply,
        pytest.raises(UpstreamError, match="it stopped answering"),
    ):
        reply.read(1)


def test_a_slow_body_may_take_its_time(upstream: Upstream, plain: FaultServer) -> None:
    """A read at a time has no deadline but its own; nor is the next one's shorter."""
    plain.routes = {"/a": lambda exchange: drips(exchange, b"Content-Length: 600", b"x")}
    with upstream.send("GET", target("/a"), (), follow=Follow.NO) as reply:
        assert b"".join(reply.read(1) for _ in range(8)) == b"x" * 8


def test_draining_takes_a_moment_at_most(
    upstream: Upstream, plain: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that serves again is worth no more; it is closed."""
    monkeypatch.setattr("entrepot.http_client.response._DRAIN_SECONDS", 0.2)
    plain.routes = {"/a": lambda exchange: drips(exchange, b"Content-Length: 600", b"x")}
    reply = upstream.send("GET", target("/a"), (), follow=Follow.NO)
    reply.drain()
    with pytest.raises(UpstreamError):
        reply.read(1)


def test_all_redirects_have_one_deadline(authority: Authority, plain: FaultServer) -> None:
    """Hosts that lead from one to the next and answer just in time do not add up."""
    pause = threading.Event()

    def late(exchange: Exchange) -> None:
        pause.wait(0.5)
        exchange.send(307, headers={"Location": f"{exchange.request.path}x"})

    plain.routes = {f"/a{'x' * count}": late for count in range(MAX_REDIRECTS + 1)}
    resolve = (Resolve(NAME, 80, "127.0.0.1", plain.port),)
    slow = Upstream(Roots(authority.pem, None), resolve=resolve, read_seconds=0.6)
    with pytest.raises(UpstreamError, match="it stopped answering"):
        slow.send("GET", target("/a"), (), follow=Follow.ANY)
    slow.close()


def test_what_is_asked_of_our_own_says_who_asks(upstream: Upstream, plain: FaultServer) -> None:
    """A client's name goes along only where it is the client that asks."""
    plain.routes = {"/a": status(200)}
    get(upstream, "/a")
    get(upstream, "/a", ("User-Agent", "docker"))
    names = [seen.headers["user-agent"] for seen in plain.requests]
    assert names[0].startswith("entrepot")
    assert names[1:] == ["docker"]
