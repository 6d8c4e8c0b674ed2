"""`GET /setup` over the socket: for the address that was asked, whatever a client says."""

import re
import socket
from typing import TYPE_CHECKING

import pytest

from rig.ports import free_port
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

SERVED = re.compile(rb"\nSERVED_BY='([a-z0-9._:\[\]-]*)'\n")


def ask(port: int, target: bytes, *fields: bytes) -> bytes:
    """Send a request as it is; gives all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = b"\r\n".join([b"GET " + target + b" HTTP/1.1", *fields, b"Connection: close"])
        connection.sendall(head + b"\r\n\r\n")
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.fixture(scope="module")
def hosts() -> dict[bytes, bytes]:
    """Host fields, and what the script says for each."""
    return {
        b"cache:3128": b"cache:3128",
        b"CACHE.example.com": b"cache.example.com:80",
        b"[2001:DB8::7]:3128": b"[2001:db8::7]:3128",
        b"10.0.0.7:3128": b"10.0.0.7:3128",
    }


HOSTILE = [
    *(b"a'b", b'a"b', b"$(id)", b"`id`", b"a;id", b"a\tb", b"a b", b"a|b", b"cache:99999", b"a\\b"),
    *(b"cache:3128'", b"a" * 300, b"a" * 20_000, b"[::1", b"[$(id)]:1", b"\xff\xfe", b"", b"a,b"),
    *(b"@{proxy}", b"http://a", b"a/../b", b"u:p@a", b"\xc3\xa4", b"a\x00b", b"%0aid"),
]


def test_the_script_is_for_the_address_that_was_asked(
    entrepot: Entrepot, hosts: dict[bytes, bytes]
) -> None:
    """By name, IPv4 and IPv6, with a query or without; HEAD has the length alone."""
    for host, named in hosts.items():
        for target in (b"/setup", b"/setup?for=docker'$(id)"):
            answer = ask(entrepot.port, target, b"Host: " + host)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert SERVED.findall(answer) == [named]
    local = entrepot.local("/setup")
    assert local.headers["Content-Type"] == "text/x-shellscript; charset=utf-8"
    assert local.headers["Cache-Control"] == "no-store"


def test_no_host_brings_anything_into_a_script(entrepot: Entrepot) -> None:
    """What is no address is refused, for the script and for what is written like one."""
    for host in HOSTILE:
        for target in (b"/setup", b"/setup/ansible", b"/setup/cloud-init"):
            answer = ask(entrepot.port, target, b"Host: " + host)
            assert b"HTTP/1.1 200" not in answer, host
            assert b"SERVED_BY" not in answer
            assert b"become" not in answer
    for fields in ((), (b"Host: a", b"Host: b'"), (b"Host: a\r\n 'b",), (b"Host:\r\n\t$(id)",)):
        assert b"HTTP/1.1 200" not in ask(entrepot.port, b"/setup", *fields), fields
    assert entrepot.local("/setup").status == 200


def test_a_mirror_and_a_proxied_request_give_it_too(start_entrepot: "StartEntrepot") -> None:
    """At a mirror for the proxy's port; in absolute-form as without; the page names it."""
    mirror = free_port()
    entrepot = start_entrepot(mirror=[f"127.0.0.1:{mirror}"])
    own = f"127.0.0.1:{entrepot.port}".encode()
    at_mirror = ask(mirror, b"/setup", b"Host: 127.0.0.1:%d" % mirror)
    assert SERVED.findall(at_mirror) == [own]
    proxied = ask(entrepot.port, b"http://" + own + b"/setup", b"Host: " + own)
    assert SERVED.findall(proxied) == [own]
    assert f"127.0.0.1:{mirror}".encode() in ask(
        entrepot.port, b"/setup/kubernetes", b"Host: " + own
    )
    page = entrepot.local("/").body
    assert b"GET /setup/cloud-init" in page
    assert entrepot.local("/setup/").status == 404
    assert entrepot.local("/setup/unknown").status == 404
