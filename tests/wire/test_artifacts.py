"""Signatures, SBOMs, attestations and charts: found, verified and pulled, and again offline."""

import http.client
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.artifacts import (
    BUNDLE_TYPE,
    CHART_CONFIG,
    CHART_LAYER,
    SBOM_TYPE,
    SIGNATURE_TYPE,
    artifact,
    cosign_verify,
    discover,
    helm_pull,
    referrers_index,
    tag_for,
)
from rig.client import Answer, Client
from rig.faults import Content, Exchange, FaultServer, error, status
from rig.images import OCI_INDEX, ImageFactory
from rig.ports import free_port
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT, HUB, TOKENS = (f"https://{name}.example.test" for name in ("fault", "hub", "registry"))
AWAY = status(503, b"<html>", {"Retry-After": "120", "Content-Type": "text/html"})
STALE = "entrepot; hit; detail=stale"


def test_what_hangs_on_an_image_is_found_by_tags(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory, folder: Path
) -> None:
    """Distribution 2.8 has no referrers: clients go on with tags, with the registry away too."""
    image, base = images.image("signed"), f"{HUB}/v2/signed"
    signature = artifact(folder, b"signature", SIGNATURE_TYPE)
    attached = [
        artifact(folder, b"bundle", BUNDLE_TYPE, subject=image),
        artifact(folder, b"sbom", SBOM_TYPE, subject=image),
    ]
    name = "hub.example.test/signed"
    upstreams.push(image, f"{name}:1")
    upstreams.push(signature, f"{name}:{tag_for(image.digest, '.sig')}")
    upstreams.push(referrers_index(attached), f"{name}:{tag_for(image.digest)}")
    online = cosign_verify(client, base, "1")
    assert {b"signature", b"bundle", b"sbom"} <= set(online)
    entrepot.await_stored(blob.digest for one in (signature, *attached) for blob in one.layers)
    with upstreams.down():
        assert cosign_verify(client, base, "1") == online
        entrepot.restart()
        assert cosign_verify(entrepot.client(), base, "1") == online


def test_an_image_without_all_of_it_is_verified_all_the_same(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory, folder: Path
) -> None:
    """A signature by tag alone: that there are no referrers is known offline, too."""
    image, base = images.image("signed by tag"), f"{HUB}/v2/signed-by-tag"
    signature = artifact(folder, b"signature", SIGNATURE_TYPE)
    name = "hub.example.test/signed-by-tag"
    upstreams.push(image, f"{name}:1")
    upstreams.push(signature, f"{name}:{tag_for(image.digest, '.sig')}")
    online = cosign_verify(client, base, "1")
    assert online[-1] == b"signature"
    entrepot.await_stored(blob.digest for blob in signature.layers)
    with upstreams.down():
        assert cosign_verify(client, base, "1") == online
        entrepot.restart()
        assert cosign_verify(entrepot.client(), base, "1") == online


def test_a_chart_is_found_by_its_versions(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, folder: Path
) -> None:
    """As helm pulls it, with the registry away too."""
    chart = artifact(folder, b"chart", CHART_LAYER, config_type=CHART_CONFIG)
    upstreams.push(chart, "hub.example.test/charts/app:1.2.3")
    base = f"{HUB}/v2/charts/app"
    online = helm_pull(client, base, "1.2.3")
    assert online[-1] == b"chart"
    entrepot.await_stored(blob.digest for blob in chart.blobs)
    with upstreams.down():
        assert helm_pull(client, base, "1.2.3") == online
        answer = client.get(f"{base}/tags/list")
        assert (answer.cache_status, answer.headers["Warning"][:12]) == (STALE, "299 entrepot")
        assert client.get(f"{base}/tags/list?n=1").status in (502, 503), "another question"
    assert "list_stale kind=tags repository=hub.example.test/charts/app age=" in entrepot.log


class Referrers:
    """The API of a registry that has it, two of a page, filtered where it is asked so."""

    def __init__(self, base: str, entries: list[tuple[str, bytes]]) -> None:
        """``entries``: the artifact types, and the lists of one entry each."""
        self._base = base
        self._entries = entries

    def __call__(self, exchange: Exchange) -> None:
        query = exchange.request.query
        wanted = query.partition("artifactType=")[2].partition("&")[0]
        entries = [body for kind, body in self._entries if not wanted or kind == wanted]
        last = int(query.partition("last=")[2] or 0)
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        if last + 1 < len(entries):
            kept = f"artifactType={wanted}&" if wanted else ""
            headers["Link"] = f'<{self._base}?{kept}last={last + 1}>; rel="next"'
        Content(entries[last], OCI_INDEX, headers=headers)(exchange)


def test_what_hangs_on_an_image_is_found_by_referrers(
    entrepot: Entrepot, client: Client, faults: FaultServer, images: ImageFactory, folder: Path
) -> None:
    """Page by page and by type; an HTML 503 is no list, and what was not asked stays unknown."""
    image, base = images.image("referred"), f"{FAULT}/v2/app"
    attached = [
        artifact(folder, b"bundle", BUNDLE_TYPE, subject=image),
        artifact(folder, b"sbom", SBOM_TYPE, subject=image),
    ]
    faults.publish(image, "app", "1")
    for one in attached:
        faults.publish(one, "app", one.digest.replace(":", "-"))
    path = f"/v2/app/referrers/{image.digest}"
    kinds = (BUNDLE_TYPE, SBOM_TYPE)
    lists = [
        (kind, referrers_index([one]).root.body) for kind, one in zip(kinds, attached, strict=True)
    ]
    faults.routes[path] = Referrers(path, lists)
    online = {kind: discover(client, base, image.digest, kind) for kind in ("", SBOM_TYPE)}
    assert {b"bundle", b"sbom"} <= set(online[""])
    assert b"bundle" not in online[SBOM_TYPE]
    entrepot.await_stored(blob.digest for one in attached for blob in one.layers)
    faults.instead = AWAY
    for kind, wanted in online.items():
        assert discover(client, base, image.digest, kind) == wanted
    filtered = client.get(f"{FAULT}{path}?artifactType={SBOM_TYPE}", {"Accept": OCI_INDEX})
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.cache_status == STALE
    unknown = client.get(f"{FAULT}{path}?artifactType=x", {"Accept": OCI_INDEX})
    assert (unknown.status, b"<html>" in unknown.body) == (503, True), "as the registry says"


def test_the_chain_is_for_whom_it_was_given(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    folder: Path,
) -> None:
    """Lists, manifests that they name, and blobs: each only for whom the registry gave it."""
    image, base = images.image("private signed"), f"{TOKENS}/v2/private/signed"
    attached = artifact(folder, b"bundle", BUNDLE_TYPE, subject=image)
    name = "registry.example.test/private/signed"
    upstreams.push(image, f"{name}:1")
    upstreams.push(referrers_index([attached]), f"{name}:{tag_for(image.digest)}")
    client = start_entrepot().client()
    url = f"{base}/manifests/1"
    alice, bob = (
        {"Authorization": client.authorization(url, account, password)}
        for account, password in (("alice", "wonderland"), ("bob", "builder"))
    )
    layer = f"{base}/blobs/{attached.layers[0].digest}"
    chain = [
        f"{base}/tags/list",
        f"{base}/referrers/{image.digest}",
        f"{base}/manifests/{tag_for(image.digest)}",
        f"{base}/manifests/{attached.digest}",
        layer,
    ]
    online = [client.manifest(one, alice).status for one in chain]
    assert online == [200, 404, 200, 200, 200]
    client.await_stored()
    with upstreams.down():
        assert [client.manifest(one, alice).status for one in chain] == online
        for headers in ({}, bob):
            assert {client.manifest(one, headers).status for one in chain} <= {502, 503}


def ask(port: int, target: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Ask a mirror."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", target, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@pytest.mark.parametrize("road", ["whole", "prefix", "ns"])
def test_referrers_of_a_mirror(
    start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory, road: str
) -> None:
    """A mirror asks as anybody, and keeps what it was told; the next page is to be had there."""
    image = images.image("mirrored")
    path = f"/v2/app/referrers/{image.digest}"
    body = b'{"schemaVersion": 2, "manifests": []}'
    link = {"Link": f'<https://fault.example.test{path}?last=1>; rel="next"'}
    faults.routes[path] = Content(body, OCI_INDEX, headers=link)
    port = free_port()
    of = "=fault.example.test" if road == "whole" else ""
    start_entrepot(mirror=f"127.0.0.1:{port}{of}", registry="fault.example.test")
    host = "/fault.example.test" if road == "prefix" else ""
    query = "?ns=fault.example.test" if road == "ns" else ""
    target = f"/v2{host}/app/referrers/{image.digest}"
    login = {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="}
    wanted = f'<{target}?last=1{query.replace("?", "&")}>; rel="next"'
    for how in ("entrepot; fwd=bypass; detail=referrers", STALE):
        answer = ask(port, f"{target}{query}", login)
        assert (answer.status, answer.body, answer.cache_status) == (200, body, how)
        assert answer.headers["Link"] == wanted
        assert not any(seen.authorization for seen in faults.requests)
        faults.routes[path] = AWAY
    faults.routes[path] = error(401, "UNAUTHORIZED", "log in", {"WWW-Authenticate": "Basic"})
    assert ask(port, f"{target}{query}").status == 404
    faults.routes[path] = AWAY
    assert ask(port, f"{target}{query}").status == 503


def test_lists_go_on_where_the_proxy_is_offline(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory, folder: Path
) -> None:
    """With --offline what was public is served from the folder, and nobody is asked."""
    upstreams.push(images.image("offline lists"), "hub.example.test/offline/lists:1")
    data, url = str(folder / "data"), f"{HUB}/v2/offline/lists/tags/list"
    before = start_entrepot(data=data)
    online = before.client().get(url)
    assert online.json()["tags"] == ["1"]
    before.terminate()
    mark, client = upstreams.mark(), start_entrepot(data=data, offline=True).client()
    for method in ("GET", "HEAD"):
        answer = client.request(method, url)
        assert (answer.status, answer.cache_status) == (200, STALE)
        assert answer.body == (online.body if method == "GET" else b"")
        assert answer.headers["Content-Length"] == str(len(online.body))
    assert client.get(f"{HUB}/v2/_catalog").status == 503
    assert upstreams.requests(mark) == ()
