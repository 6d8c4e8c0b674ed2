"""`/metrics` of real runs: the numbers, the formats, who may read it, and Prometheus itself."""

import http.client
import re
import ssl
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parsed_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parsed

from entrepot.metrics.metrics import FAMILIES
from rig.faults import FaultServer, status
from rig.images import ANY_MANIFEST, KIB, MIB, Image, ImageFactory, incompressible
from rig.needs import need
from rig.ports import free_port
from rig.process import eventually
from rig.prometheus import Prometheus, dashboard_queries, names, promtool, rules
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
HUB = "registry-1.docker.io"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
LIMITED = {
    "RateLimit-Limit": "100;w=21600",
    "RateLimit-Remaining": "7;w=21600",
    "Retry-After": "120",
}

Labels = frozenset[tuple[str, str]]


def read(port: int, accept: str = "", source: str = "127.0.0.1") -> tuple[int, str, str]:
    """Status, media type and text of the page at a port."""
    with closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    ) as connection:
        connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()


class Numbers:
    """Every sample of a page, by its name and its labels."""

    def __init__(self, text: str, parse: Callable[[str], Iterable[Metric]] = parsed) -> None:
        self._all: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse(text)
            for sample in family.samples
        }
        self.names = {name for name, _ in self._all}
        self.labels = {label for _, labels in self._all for label in labels}

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of one sample; None where there is none."""
        return self._all.get((name, frozenset(labels.items())))

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples of a name that have these labels."""
        return sum(
            value
            for (found, has), value in self._all.items()
            if found == name and has >= labels.items()
        )


def awaited(entrepot: Entrepot, answers: int) -> Numbers:
    """The page once so many answers are counted: a record counts at most a second later."""
    found: list[Numbers] = []

    def are_counted() -> bool:
        found[:] = [Numbers(read(entrepot.port)[2])]
        return found[0].sum("entrepot_answers_total") >= answers

    eventually(are_counted, what=f"{answers} answers")
    assert found[0].sum("entrepot_answers_total") == answers
    return found[0]


def pull_twice(entrepot: Entrepot, image: Image) -> int:
    """Pull from Docker Hub with a token, cold and warm; how many requests that took."""
    client, base = entrepot.client(), f"https://{HUB}/v2/library/counted"
    token = {"Authorization": client.authorization(f"{base}/manifests/1")}
    for _ in range(2):
        client.head(f"{base}/manifests/1", {"Accept": ANY_MANIFEST, **token})
        assert client.manifest(f"{base}/manifests/{image.root.digest}", token).status == 200
        for blob in image.blobs:
            assert client.get(f"{base}/blobs/{blob.digest}", token).status == 200
        entrepot.await_stored(blob.digest for blob in image.blobs)
    return 2 + 2 * (2 + len(image.blobs))


def get_into_trouble(entrepot: Entrepot, faults: FaultServer, upstreams: Upstreams) -> int:
    """A limit, refusals, an upstream that hangs up, a client without the CA; how many requests."""
    client = entrepot.client()
    faults.routes["/v2/app/manifests/limited"] = status(429, b"{}", LIMITED)
    faults.routes["/v2/app/manifests/gone"] = status(404)
    faults.routes["/v2/app/tags/list"] = lambda exchange: exchange.cut()
    for path in ("manifests/limited", "manifests/gone", "tags/list"):
        client.manifest(f"{FAULT}/v2/app/{path}")
    assert client.get(f"{FAULT}/v2/app/tags/list", {"Host": "hub.example.test"}).status == 421
    stranger = entrepot.stranger(upstreams.authority.pem, upstreams.web_authority.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.certificate("hub.example.test")
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal")
    assert stranger.get("https://hub.example.test/v2/").status == 200
    return 5


@pytest.mark.slow
def test_a_run_in_numbers(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    faults: FaultServer,
    images: ImageFactory,
    folder: Path,
) -> None:
    """Two pulls and some trouble, counted without records too: what we deploy goes by it."""
    need("prometheus")
    port = free_port()
    entrepot = start_entrepot(
        record="none",
        mirror=[f"127.0.0.1:{port}=docker.io"],
        registry=["fault.example.test"],
        allow_client=["127.0.0.1/32"],
    )
    image = images.image("counted")
    upstreams.push(image, f"{HUB}/library/counted:1")
    prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{entrepot.port}")
    prometheus.daemon.spawn()
    try:
        asked = pull_twice(entrepot, image) + get_into_trouble(entrepot, faults, upstreams)
        found = awaited(entrepot, asked)
        check_pulls(found, image)
        check_trouble(found)
        check_page(entrepot.port, port)
        prometheus.daemon.wait_ready()
        check_in_prometheus(prometheus, found)
    finally:
        prometheus.daemon.stop()
    assert not list(entrepot.data.glob("records*"))


def check_pulls(found: Numbers, image: Image) -> None:
    """The numbers of the pulls are those of the image."""
    blobs, hub = len(image.blobs), {"registry": "docker.io"}
    size, manifest = sum(blob.size for blob in image.blobs), len(image.root.body)
    for outcome in ("hit", "miss"):
        assert found("entrepot_requests_total", kind="blob", outcome=outcome, **hub) == blobs
    for type_, count, length in (("blob", blobs, size), ("manifest", 1, manifest)):
        assert found("registry_proxy_requests_total", type=type_) == 2 * count
        assert found("registry_proxy_hits_total", type=type_) == count
        assert found("registry_proxy_misses_total", type=type_) == count
        assert found("registry_proxy_pulled_bytes_total", type=type_) == length
        assert found("registry_proxy_pushed_bytes_total", type=type_) == 2 * length
    assert found("entrepot_sent_bytes_total", source="disk", **hub) == size + manifest
    assert found("entrepot_docker_hub_pulls_total", result="saved") == 1
    assert found("entrepot_docker_hub_pulls_total", result="spent") == 1
    first_byte = {"kind": "blob", "outcome": "hit"}
    assert found("entrepot_first_byte_seconds_count", **first_byte) == blobs
    assert found("entrepot_first_byte_seconds_bucket", le="+Inf", **first_byte) == blobs
    assert found("entrepot_store_objects") == blobs + 1
    assert size < (found("entrepot_store_bytes") or 0) < (found("entrepot_disk_free_bytes") or 0)
    assert found("entrepot_ready") == 1
    assert (found("process_resident_memory_bytes") or 0) > MIB


def check_trouble(found: Numbers) -> None:
    """What went wrong shows, by upstream and by what became of it."""
    fault = {"upstream": FAULT}
    assert found("entrepot_upstream_ratelimit_remaining", **fault) == 7
    assert found("entrepot_upstream_ratelimit_limit", **fault) == 100
    assert found("entrepot_upstream_up", **fault) == 0
    assert found("entrepot_upstream_answers_total", code="404", **fault) == 1
    assert (found("entrepot_upstream_failures_total", **fault) or 0) >= 1
    answers = "entrepot_answers_total"
    assert found(answers, outcome="miss", reason="answered", code="404") == 1
    assert found(answers, outcome="error", reason="failed", code="502") == 1
    assert found(answers, outcome="error", reason="refused", code="421") == 1
    assert found(answers, outcome="tunnel", reason="tunnel", code="200") == 1
    assert found("entrepot_untrusting_clients") == 1
    assert found("entrepot_tls_handshakes_refused_total") == 1
    assert found("entrepot_tunnelled_connections_total", reason="untrusting") == 1
    assert found("entrepot_events_total", event="certificate_refused") == 1


def check_page(port: int, mirror: int) -> None:
    """Two formats with the same names, at both ports, for who may use the proxy; no secret."""
    status_, media_type, text = read(port)
    assert (status_, media_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert promtool("check", "metrics", given=text.encode()) == ""
    _, media_type, opened = read(mirror, OPEN_METRICS)
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert opened.endswith("# EOF\n")
    plain = Numbers(text)
    assert Numbers(opened, parsed_open_metrics).names == plain.names
    assert {family.name for family in FAMILIES} <= {stem(name) for name in plain.names}
    values = {value for _, value in plain.labels}
    assert not {value for value in values if "127.0.0.1" in value or "sha256" in value}
    assert "counted" not in values, "no repository"
    assert read(port, source="127.0.7.7")[0] == 403


def stem(name: str) -> str:
    """A sample's name as a family has it."""
    for suffix in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(suffix)
    return name


def check_in_prometheus(prometheus: Prometheus, found: Numbers) -> None:
    """It scrapes the page; every query of alerts and dashboard names what is there, and works.

    One that compares finds nothing where all is well.
    """
    eventually(lambda: prometheus.query("count_over_time(up[1m]) > 2"), what="three scrapes")
    (target,) = prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    (blobs,) = prometheus.query('registry_proxy_hits_total{type="blob"}')
    assert float(blobs["value"][1]) == found("registry_proxy_hits_total", type="blob")
    queries = [*dashboard_queries(), *(rule["expr"] for rule in rules())]
    assert set().union(*map(names, queries)) - {"up"} <= found.names
    for query in queries:
        assert prometheus.query(query) or re.search(r" (==|<|>) ", query), f"nothing: {query}"
    eventually(
        lambda: all(rule["health"] == "ok" for rule in prometheus.rules()),
        what="every rule evaluated",
    )
    assert {rule["name"] for rule in prometheus.rules()} == {rule["alert"] for rule in rules()}


def test_counters_begin_anew_with_the_process(entrepot: Entrepot, faults: FaultServer) -> None:
    """As Prometheus wants it; and what is held counts as held."""
    path, _ = faults.add_blob("app", b"".join(incompressible("metrics", 300 * KIB)))
    entrepot.client().get(FAULT + path)
    entrepot.await_stored([path.rpartition("/")[2]])
    assert awaited(entrepot, 1)("entrepot_store_objects") == 1
    entrepot.restart()
    found = awaited(entrepot, 0)
    assert found("entrepot_store_objects") == 1
    assert found("registry_proxy_requests_total", type="blob") == 0
