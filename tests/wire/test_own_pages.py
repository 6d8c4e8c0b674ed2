"""The pages that the proxy serves of itself, and plain HTTP that is none of its business."""

import hashlib
import http.client
import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rig.client import Answer
from rig.faults import FaultServer, status
from rig.ports import free_port
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot


def ask(entrepot: Entrepot, method: str, path: str) -> Answer:
    """Send a request to the proxy itself."""
    connection = http.client.HTTPConnection("127.0.0.1", entrepot.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def test_the_certificate_is_there_without_its_key(entrepot: Entrepot) -> None:
    """GET /ca.pem gives the authority that the log names by its fingerprint, and nothing else."""
    answer = entrepot.local("/ca.pem")
    assert answer.status == 200
    assert b"PRIVATE KEY" not in answer.body
    (certificate,) = x509.load_pem_x509_certificates(answer.body)
    fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest().hex(":").upper()
    assert f"ca_sha256={fingerprint}" in entrepot.log


def test_health_is_told_with_counters(entrepot: Entrepot) -> None:
    """GET /healthz answers with the state and what was counted."""
    answer = entrepot.local("/healthz")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    told = json.loads(answer.body)
    assert told["status"] == "ok"
    assert told["counters"]["listening"] == 1


def test_the_front_page_says_what_this_is(entrepot: Entrepot) -> None:
    """GET / explains itself to somebody with a browser."""
    answer = entrepot.local("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"/ca.pem" in answer.body


@pytest.mark.parametrize("path", ["/v2/", "/unknown", "/ca.pem/", "/../ca.pem"])
def test_anything_else_is_not_found(entrepot: Entrepot, path: str) -> None:
    """Only the pages exist: the proxy is no registry of its own."""
    assert entrepot.local(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_pages_are_for_reading(entrepot: Entrepot, method: str) -> None:
    """Another method gets a 405 that says which ones there are."""
    answer = ask(entrepot, method, "/ca.pem")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_head_of_a_page_has_its_length(entrepot: Entrepot) -> None:
    """HEAD tells what GET would send."""
    answer = ask(entrepot, "HEAD", "/ca.pem")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(entrepot.ca_pem)


OTHER_NAME = "proxy.example.test"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", OTHER_NAME])
@pytest.mark.parametrize("upstream_proxy", [None, "http://127.0.0.1:1"], ids=["", "proxied"])
def test_who_sets_http_proxy_gets_them_too(
    start_entrepot: "StartEntrepot", host: str, upstream_proxy: str | None
) -> None:
    """By address or any name, without a password and with no connection to itself."""
    port = free_port()
    proxy = start_entrepot(
        listen=f"127.0.0.1:{port}",
        resolve=f"{OTHER_NAME}:{port}:127.0.0.1",
        proxyauth="me:hidden",
        upstream_proxy=upstream_proxy,
    )
    client, base = proxy.client(), f"http://{host}:{port}"
    assert client.get(f"{base}/ca.pem").body == proxy.ca_pem
    health = client.get(f"{base}/healthz")
    assert (health.status, health.headers["Content-Type"]) == (200, "application/json")
    assert client.head(f"{base}/").status == 200
    assert client.get(f"{base}/unknown").status == 404
    assert "destination_refused" not in proxy.log


def test_a_proxy_that_is_asked_as_a_registry_says_so(entrepot: Entrepot) -> None:
    """As docker's `registry-mirrors` may: 404 with what to do, and one line in the log."""
    for _ in range(2):
        answer = entrepot.local("/v2/library/redis/manifests/1")
        assert answer.status == 404
        (error,) = json.loads(answer.body)["errors"]
        assert "this port is a proxy, no registry: use the port of a --mirror" in error["message"]
    (line,) = (line for line in entrepot.log.splitlines() if "port_mistaken" in line)
    assert 'client=127.0.0.1 reason="this port is a proxy, no registry" hint=' in line
    assert entrepot.counter("port_mistaken") == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_plain_http_passes_untouched(start_entrepot: "StartEntrepot", method: str) -> None:
    """Promise 4: plain HTTP to a host that is no registry goes through as it came."""
    web = FaultServer(None, "web.example.test")
    try:
        web.routes = {"/page": status(418, b"short and stout", {"X-Kind": "teapot"})}
        client = start_entrepot(resolve=[f"web.example.test:80:127.0.0.1:{web.port}"]).client()
        answer = client.request(method, "http://web.example.test/page?a=1", {"X-Mine": "kept"})
        assert (answer.status, answer.body) == (418, b"short and stout")
        assert answer.headers["X-Kind"] == "teapot"
        assert "Cache-Status" not in answer.headers
        (seen,) = web.of(path="/page")
        assert (seen.method, seen.query, seen.host) == (method, "a=1", "web.example.test")
        assert seen.headers["x-mine"] == "kept"
    finally:
        web.stop()
