"""The page: who may read it, who may change something, and what attackers get instead."""

import json
import socket
from typing import TYPE_CHECKING

import pytest

from rig.page import BROWSER, TOKEN, Reader
from rig.ports import free_port
from rig.process import eventually
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

NOBODY = json.dumps({"names": ["docker.io/library/nobody:1"]})
POLICY = "default-src 'none'; script-src 'self'; style-src 'self';"


@pytest.fixture
def proxy(start_entrepot: "StartEntrepot") -> Entrepot:
    """A proxy whose page is at an address of its own, too."""
    return start_entrepot(admin=f":{free_port()}", admin_token=TOKEN, admin_host="cache.example")


def roads(proxy: Entrepot) -> list[Reader]:
    """The proxy's own port, and that of --admin."""
    (line,) = (line for line in proxy.log.splitlines() if " listening " in line)
    admin = line.partition(" admin=127.0.0.1:")[2].partition(" ")[0]
    return [Reader(proxy.port), Reader(int(admin))]


def test_a_browser_gets_the_page_and_curl_the_text(proxy: Entrepot) -> None:
    """By both roads, with fields that forbid what no page of ours needs."""
    assert Reader(proxy.port).ask("GET", "/", {"Accept": "*/*"}).body.startswith(b"This is an")
    for reader in roads(proxy):
        answer = reader.get("/")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b'<h1 id="title">Overview</h1>' in answer.body
        assert answer.headers["Content-Security-Policy"].startswith(POLICY)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        head = reader.ask("HEAD", "/", BROWSER)
        assert (head.status, head.body) == (200, b"")
        assert reader.get("/ui/nothing").status == 404
        assert reader.get("/ui/static/x/../../../main.py").status in (404, 400)
        assert reader.get("/ui/static/x/%2e%2e/page.html").status == 404


def test_another_name_is_not_answered(proxy: Entrepot) -> None:
    """DNS rebinding: a name of an attacker's that leads here reads nothing."""
    for reader in roads(proxy):
        for host in ("attacker.example", f"attacker.example:{reader.port}", "localhost.evil"):
            for path in ("/", "/api/images", "/ui/static/x/page.css"):
                answer = reader.get(path, {"Host": host})
                assert answer.status == 421, (host, path)
                assert b"--admin-host" in answer.body
        for host in ("localhost", "cache.example:9", "[::1]:3128", socket.gethostname()):
            assert reader.get("/", {"Host": host}).status == 200
    assert 'page_refused client=127.0.0.1 reason="this is no name' in proxy.log


def test_a_name_of_an_attackers_reads_nothing_by_way_of_the_proxy(proxy: Entrepot) -> None:
    """In absolute-form the host is the one that was asked for."""
    reader = Reader(proxy.port)
    own = f"http://127.0.0.1:{proxy.port}/api/state"
    assert reader.get(own).status == 200
    assert reader.get(own, {"Host": "attacker.example"}).status in (400, 421)


def test_changes_take_the_token(proxy: Entrepot) -> None:
    """By a session, or as `Authorization: Bearer`; nothing else counts."""
    for reader in roads(proxy):
        assert reader.post("/api/images/remove", NOBODY).status == 401
        wrong = {"Authorization": "Bearer wrong-token-of-24-characters"}
        assert reader.post("/api/images/remove", NOBODY, wrong).status == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        answer = reader.post("/api/images/remove", NOBODY, right)
        assert (answer.status, answer.json()["code"]) == (404, "not_cached")
        assert reader.post("/api/images/pin", "no JSON", right).status == 400
        assert reader.post("/api/images/pin", '{"names": "x"}', right).status == 400
    assert "action=remove names=docker.io/library/nobody:1 outcome=" in proxy.log
    assert TOKEN not in proxy.log


def test_a_session_is_not_enough_for_another_site(proxy: Entrepot) -> None:
    """CSRF: the browser sends its cookie, but not our token, and says whose page it was."""
    for reader in roads(proxy):
        assert reader.sign_in().status == 303
        own = {"Origin": f"http://127.0.0.1:{reader.port}", "Sec-Fetch-Site": "same-origin"}
        assert reader.post("/api/images/remove", NOBODY, own).status == 404
        for fields in (
            {"Origin": "http://attacker.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"X-CSRF-Token": "guessed"},
            {"X-CSRF-Token": ""},
        ):
            assert reader.post("/api/images/remove", NOBODY, fields).status == 403, fields
        text = {"Content-Type": "text/plain", "X-CSRF-Token": ""}
        assert reader.post("/api/images/remove", NOBODY, text).status == 403


def test_the_cookie_is_for_this_page_alone(proxy: Entrepot) -> None:
    """No script reads it, no other site's request has it; signing out ends it."""
    for reader in roads(proxy):
        answer = reader.sign_in()
        cookie = answer.headers["Set-Cookie"]
        assert answer.headers["Location"] == "/ui/images"
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert b"Sign out" in reader.get("/").body
        assert reader.post("/ui/sign-out", "").status == 303
        assert b"Sign out" not in reader.get("/").body
        assert reader.post("/api/images/pin", NOBODY).status == 401
    assert proxy.log.count("page_signed_in client=127.0.0.1") == 2


@pytest.mark.parametrize("back", ["//attacker.example/", "http://attacker.example/", "/\\evil"])
def test_signing_in_leads_to_no_other_site(proxy: Entrepot, back: str) -> None:
    """Whatever a link to the form says."""
    reader = Reader(proxy.port)
    assert f'value="{back}"'.encode() not in reader.get(f"/ui/sign-in?next={back}").body
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    form = f"token={TOKEN}&next={back}".encode()
    assert reader.ask("POST", "/ui/sign-in", kind, form).headers["Location"] == "/"


def test_guessing_is_slow(proxy: Entrepot) -> None:
    """Five wrong tokens, then a minute's rest: for the right one, too, by either way."""
    reader = Reader(proxy.port)
    for _ in range(5):
        assert reader.sign_in("wrong").status == 403
    assert reader.sign_in(TOKEN).status == 429
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert reader.post("/api/images/pin", NOBODY, bearer).status == 429
    assert reader.get("/").status == 200
    assert 'page_refused client=127.0.0.1 reason="that is not the token"' in proxy.log


def test_reading_can_be_closed(start_entrepot: "StartEntrepot") -> None:
    """Then the token opens it; style sheets and the form are for everybody."""
    proxy = start_entrepot(admin_closed=True)
    reader = Reader(proxy.port)
    answer = reader.get("/ui/images")
    assert (answer.status, answer.headers["Location"]) == (303, "/ui/sign-in")
    assert reader.get("/api/state").status == 401
    form = reader.get("/ui/sign-in")
    file = proxy.data / "admin-token"
    assert str(file) in form.body.decode()
    token = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in form.body.decode()
    assert reader.ask("GET", "/api/state", {"Authorization": f"Bearer {token}"}).status == 200
    assert reader.sign_in(token).status == 303
    assert reader.get("/api/state").status == 200


def test_reading_is_for_those_who_are_named(start_entrepot: "StartEntrepot") -> None:
    """Nobody else, whatever they show; pulls and /healthz are not concerned."""
    proxy = start_entrepot(admin_allow=["10.99.0.0/16"], admin_token=TOKEN)
    reader = Reader(proxy.port)
    assert reader.get("/").status == 403
    assert reader.ask("GET", "/api/state", {"Authorization": f"Bearer {TOKEN}"}).status == 403
    assert proxy.local("/healthz").status == 200


def test_who_may_not_use_the_proxy_sees_no_page(start_entrepot: "StartEntrepot") -> None:
    """--allow-client comes first."""
    proxy = start_entrepot(allow_client="127.0.0.1/32")
    assert Reader(proxy.port).get("/").status == 200
    assert Reader(proxy.port, source="127.0.0.2").get("/").status == 403


def test_too_much_is_refused(proxy: Entrepot) -> None:
    """No form is that large; the proxy holds none of it."""
    reader = Reader(proxy.port)
    assert reader.post("/ui/sign-in", "x" * 70_000).status == 413
    chunked = {"Transfer-Encoding": "chunked"}
    assert reader.ask("POST", "/ui/sign-in", chunked, b"1\r\nx\r\n0\r\n\r\n").status == 413


def test_the_page_at_its_own_address_is_not_led_to(proxy: Entrepot) -> None:
    """A client cannot reach it through the proxy, as if it came from this machine."""
    admin = roads(proxy)[1]
    answer = Reader(proxy.port).get(f"http://127.0.0.1:{admin.port}/api/state")
    assert answer.status in (403, 508)


def test_the_proxy_ends_with_a_page_open(proxy: Entrepot) -> None:
    """A browser that keeps its connection holds up no stop."""
    for reader in roads(proxy):
        assert reader.get("/").status == 200
    with socket.create_connection(("127.0.0.1", roads(proxy)[1].port)) as kept:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"
        assert proxy.terminate() == 0
    eventually(lambda: "hook_failed" not in proxy.log, what="no failure")


def test_an_address_that_is_taken_is_an_error_at_the_start(
    start_entrepot: "StartEntrepot",
) -> None:
    """As for every other listener: it says which option it is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"cannot listen on 127.0.0.1:{port}.*see --admin"):
            start_entrepot(admin=f":{port}")
