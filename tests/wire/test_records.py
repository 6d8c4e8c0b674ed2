"""What is recorded of real pulls by each road, and that no pull depends on it."""

import json
import sqlite3
import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrepot.observe.database import FILE_NAME
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter, RecordReader
from entrepot.observe.request_record import RequestRecord, Road
from rig.client import Client
from rig.disk import small_disk
from rig.faults import FaultServer, Gate, status
from rig.images import ANY_MANIFEST, KIB, MIB, Image, ImageFactory, incompressible
from rig.needs import need_root
from rig.ports import free_port
from rig.process import eventually, program
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
HUB = "registry-1.docker.io"
AGENT = {"User-Agent": "docker/26.1 go/go1.21"}
TAGS = b'{"name":"app","tags":["1"]}'
BODY = b"".join(incompressible("records", 300 * KIB))


def records_of(
    entrepot: Entrepot,
    count: int,
    wanted: Filter = Filter(),  # noqa: B008
) -> list[RequestRecord]:
    """The records there are, the first first, once there are so many."""
    reader = RecordReader(entrepot.data)
    found: list[RequestRecord] = []

    def are_there() -> bool:
        found[:] = [stored.record for stored in reversed(reader.requests(wanted, most=1000))]
        return len(found) >= count

    eventually(are_there, what=f"{count} records")
    assert len(found) == count
    return sorted(found, key=lambda record: record.at)


def pull(client: Client, image: Image, base: str, headers: Mapping[str, str]) -> None:
    """Pull as docker does: HEAD of the tag, the manifest by digest, the blobs."""
    headers = {**AGENT, **headers}
    assert client.head(f"{base}/manifests/1", {"Accept": ANY_MANIFEST, **headers}).status == 200
    manifest = client.manifest(f"{base}/manifests/{image.root.digest}", headers)
    assert manifest.body == image.root.body
    for blob in image.blobs:
        assert client.get(f"{base}/blobs/{blob.digest}", headers).body == blob.read()


@pytest.fixture
def pulled(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> tuple[Entrepot, Image]:
    """An image of Docker Hub that was pulled cold and warm, by a client with a token."""
    entrepot, image = start_entrepot(access_log=True), images.image("recorded")
    upstreams.push(image, f"{HUB}/library/recorded:1")
    client, base = entrepot.client(), f"https://{HUB}/v2/library/recorded"
    token = {"Authorization": client.authorization(f"{base}/manifests/1")}
    pull(client, image, base, token)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    pull(client, image, base, token)
    return entrepot, image


def test_a_cold_and_a_warm_pull(pulled: tuple[Entrepot, Image]) -> None:
    """Promise 3 in numbers: who, what, why, and which bytes came from where."""
    entrepot, image = pulled
    half = 2 + len(image.blobs)
    refused, *records = records_of(entrepot, 1 + 2 * half, Filter(repository="library/recorded"))
    assert (refused.status, refused.outcome) == (401, Outcome.MISS)
    assert {(r.client, r.agent, r.road, r.registry) for r in records} == {
        ("127.0.0.1", AGENT["User-Agent"], Road.PROXY, "docker.io")
    }
    assert all(0 <= r.first_byte_ms <= r.total_ms < 60_000 and r.why and not r.cut for r in records)
    head, manifest, *blobs = records[:half]
    assert (head.method, head.reference, head.outcome) == ("HEAD", "1", Outcome.MISS)
    assert (manifest.kind, manifest.from_upstream) == ("manifest", len(image.root.body))
    assert [(r.answered, r.sent, r.from_disk, r.from_upstream) for r in blobs] == [
        ("fwd=miss; stored", blob.size, 0, blob.size) for blob in image.blobs
    ]
    head, manifest, *blobs = records[half:]
    assert (manifest.outcome, manifest.from_upstream) == (Outcome.HIT, 0)
    assert [(r.reference, r.answered, r.sent, r.from_disk) for r in blobs] == [
        (blob.digest, "hit", blob.size, blob.size) for blob in image.blobs
    ]
    tokens = records_of(entrepot, 1, Filter(registry="auth.docker.io"))
    assert [(r.kind, r.outcome) for r in tokens] == [("token", Outcome.BYPASS)]

    def lines() -> list[str]:
        return [line for line in entrepot.log.splitlines() if " request_served " in line]

    eventually(lambda: len(lines()) >= 2 + len(records), what="a line for each")
    assert len(lines()) == 2 + len(records)
    assert "repository=docker.io/library/recorded" in lines()[-1]


def test_what_a_warm_pull_saved(pulled: tuple[Entrepot, Image]) -> None:
    """The sums and the pulls say what the records do, and count Docker Hub's pulls as it does."""
    entrepot, image = pulled
    half, size = 2 + len(image.blobs), sum(blob.size for blob in image.blobs)
    records_of(entrepot, 1 + 2 * half, Filter(repository="library/recorded"))
    totals = RecordReader(entrepot.data).totals()
    assert totals["docker.io", Outcome.HIT].saved == size + len(image.root.body)
    hub = [(sum_.hub_pulls, sum_.hub_pulls_saved) for sum_ in totals.values()]
    assert (totals["docker.io", Outcome.HIT].hub_pulls_saved, sum(n for n, _ in hub)) == (1, 2)
    cold, warm = reversed(RecordReader(entrepot.data).pulls())
    assert (cold.reference, cold.requests, cold.hub_pulls, cold.hub_pulls_saved) == (
        "1",
        half,
        1,
        0,
    )
    assert cold.from_upstream == cold.sent == size + len(image.root.body)
    assert (warm.requests, warm.sent, warm.from_upstream) == (half, cold.sent, 0)
    assert (warm.hub_pulls, warm.hub_pulls_saved) == (1, 1)


def test_what_goes_wrong_is_recorded_with_its_reason(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """The registry's refusals, its failures, and what is never cached: no path, and no query."""
    faults.routes["/v2/app/manifests/gone"] = status(404)
    faults.routes["/v2/app/tags/list"] = status(200, TAGS)
    client.manifest(f"{FAULT}/v2/app/manifests/gone", {"Authorization": "Basic c2VjcmV0"})
    client.get(f"{FAULT}/v2/app/tags/list?n=5&token=SECRET")
    client.get(f"{FAULT}/some/where?token=SECRET")
    client.get(f"{FAULT}/v2/", {"User-Agent": "a" * 300})
    gone, tags, other, ping = records_of(entrepot, 4)
    assert (gone.status, gone.outcome, gone.why) == (
        404,
        Outcome.MISS,
        "the registry answered 404",
    )
    assert (tags.kind, tags.repository, tags.outcome) == ("tags", "app", Outcome.BYPASS)
    assert tags.sent == tags.from_upstream == len(TAGS)
    assert (other.kind, other.repository, other.reference) == ("other", "", "")
    assert (ping.kind, ping.status, len(ping.agent)) == ("ping", 200, 120)
    content = b"".join(path.read_bytes() for path in entrepot.data.glob("records.db*"))
    assert b"fault.example.test" in content
    for secret in (b"SECRET", b"c2VjcmV0", b"some/where"):
        assert secret not in content


def test_a_registry_that_is_down_is_said_to_be(
    start_entrepot: "StartEntrepot",
) -> None:
    """The reason that the log has, by the cache and by what passes through."""
    port = free_port()
    entrepot = start_entrepot(
        registry="down.example.test", resolve=[f"down.example.test:443:127.0.0.1:{port}"]
    )
    client = entrepot.client()
    assert client.manifest("https://down.example.test/v2/app/manifests/1").status == 502
    assert client.get("https://down.example.test/v2/app/tags/list").status in (502, 503)
    manifest, tags = records_of(entrepot, 2)
    for record in (manifest, tags):
        assert record.outcome is Outcome.ERROR
        assert record.status in (502, 503)
        assert "connection refused" in record.why
        assert record.from_upstream == 0


def test_a_fetch_counts_for_the_request_that_began_it(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Also what comes after its client has left; who follows it took nothing from upstream."""
    path, content = faults.add_blob("app", BODY)
    content.gate = gate = Gate(len(BODY) // 2)
    first = client.open("GET", FAULT + path)
    first.read(1000)
    with client.open("GET", FAULT + path) as second:
        first.abort()
        eventually(lambda: entrepot.counter("client_left"), what="a client left")
        assert not (entrepot.data / FILE_NAME).exists(), "it is recorded when its fetch has ended"
        gate.open()
        assert second.read() == BODY
    began, followed = records_of(entrepot, 2)
    assert (began.outcome, began.from_upstream) == (Outcome.MISS, len(BODY))
    assert began.sent < len(BODY)
    assert "left" in began.cut
    assert (followed.outcome, followed.sent) == (Outcome.COLLAPSED, len(BODY))
    assert (followed.from_disk, followed.from_upstream) == (len(BODY), 0)


def test_a_mirror_records_the_registry_that_is_meant(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """Named by the mirror itself, or by its client; one that names none has none."""
    hub, any_ = free_port(), free_port()
    entrepot = start_entrepot(mirror=[f"127.0.0.1:{hub}=docker.io", f"127.0.0.1:{any_}"])
    image = images.image("mirrored records")
    upstreams.push(image, f"{HUB}/library/mirrored:1")
    for port, query in ((hub, ""), (any_, "?ns=docker.io"), (any_, "")):
        with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            target = f"/v2/library/mirrored/manifests/1{query}"
            connection.request("GET", target, headers={"Accept": ANY_MANIFEST})
            connection.getresponse().read()
    own, named, none = records_of(entrepot, 3)
    for record in (own, named):
        assert (record.road, record.registry, record.repository, record.reference) == (
            Road.MIRROR,
            "docker.io",
            "library/mirrored",
            "1",
        )
    assert (own.outcome, named.outcome) == (Outcome.MISS, Outcome.HIT)
    assert (none.registry, none.status, none.outcome) == ("", 404, Outcome.ERROR)


def test_a_tunnel_to_a_registry_is_recorded_as_such(
    entrepot: Entrepot, upstreams: Upstreams
) -> None:
    """Of a client that refused the certificate: why, and how much; another host leaves nothing."""
    host = "hub.example.test"
    stranger = entrepot.stranger(upstreams.authority.pem, upstreams.web_authority.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.certificate(host)
    eventually(lambda: "certificate_refused" in entrepot.log, what="the refusal")
    assert stranger.get("https://plainweb.example.test/").status == 200
    assert stranger.get(f"https://{host}/v2/").status == 200
    (record,) = records_of(entrepot, 1)
    assert (record.kind, record.outcome, record.registry) == ("tunnel", Outcome.TUNNEL, host)
    assert "refused our certificate" in record.why
    assert record.sent == record.from_upstream > 500


def test_a_registry_that_is_not_listed_is_a_tunnel_on_record(
    start_entrepot: "StartEntrepot", upstreams: Upstreams
) -> None:
    """`--only-listed`: what is well known by name, and passes uncached, can be seen."""
    entrepot = start_entrepot(only_listed=True)
    stranger = entrepot.stranger(upstreams.authority.pem)
    assert stranger.get(f"https://{HUB}/v2/").status in (200, 401)
    (record,) = records_of(entrepot, 1)
    assert (record.registry, record.outcome) == ("docker.io", Outcome.TUNNEL)
    assert record.why == "--only-listed, and this host is not listed"


def test_networks_alone_are_recorded(start_entrepot: "StartEntrepot", faults: FaultServer) -> None:
    """`--record networks` cuts addresses in the database and in the access log."""
    entrepot = start_entrepot(record="networks", access_log=True)
    faults.routes["/v2/app/tags/list"] = status(200, b"{}")
    entrepot.client(source="127.0.7.7").get(f"{FAULT}/v2/app/tags/list")
    (record,) = records_of(entrepot, 1)
    assert record.client == "127.0.7.0/24"
    eventually(lambda: " request_served " in entrepot.log, what="the line")
    (line,) = [line for line in entrepot.log.splitlines() if " request_served " in line]
    assert "client=127.0.7.0/24" in line
    assert "127.0.7.7" not in line


def test_nothing_is_recorded(start_entrepot: "StartEntrepot", faults: FaultServer) -> None:
    """`--record none` writes no database; the access log has no client then."""
    entrepot = start_entrepot(record="none", access_log=True)
    faults.routes["/v2/app/tags/list"] = status(200, b"{}")
    entrepot.client().get(f"{FAULT}/v2/app/tags/list")
    eventually(lambda: " request_served " in entrepot.log, what="the line")
    assert " request_served road=proxy " in entrepot.log
    assert not list(entrepot.data.glob("records*"))


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_the_log_is_json(start_entrepot: "StartEntrepot", faults: FaultServer, runner: str) -> None:
    """Each line is an object, ours and (by `entrepot serve`) mitmproxy's; one a request."""
    entrepot = start_entrepot(runner=runner, log_format="json", access_log=True)  # type: ignore[arg-type]
    path, _ = faults.add_blob("app", BODY)
    entrepot.client().get(FAULT + path)
    eventually(lambda: '"request_served"' in entrepot.log, what="the line")
    lines = [json.loads(line) for line in entrepot.log.splitlines() if line.startswith("{")]
    if runner == "serve":
        assert len(lines) == len(entrepot.log.splitlines())
    assert {"listening", "blob_stored", "request_served"} <= {line["event"] for line in lines}
    (served,) = [line for line in lines if line["event"] == "request_served"]
    assert (served["sent"], served["from_upstream"], served["answered"]) == (
        len(BODY),
        len(BODY),
        "miss",
    )
    assert served["time"].endswith("Z")


def test_records_survive_a_kill(entrepot: Entrepot, client: Client, faults: FaultServer) -> None:
    """And a restart: what was written stays, and is added to."""
    path, _ = faults.add_blob("app", BODY)
    client.get(FAULT + path)
    records_of(entrepot, 1)
    entrepot.kill9()
    entrepot.start()
    entrepot.client().get(FAULT + path)
    assert entrepot.terminate() == 0, "an orderly end writes what is left"
    assert [record.outcome for record in records_of(entrepot, 2)] == [Outcome.MISS, Outcome.HIT]
    totals = RecordReader(entrepot.data).totals()
    assert totals["fault.example.test", Outcome.HIT].saved == len(BODY)


def _damage(file: Path) -> None:
    file.write_bytes(b"damaged " * 10_000)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _replace_by_folder(file: Path) -> None:
    for path in file.parent.glob("records.db*"):
        path.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("harm", "event"),
    [(_damage, "records_damaged"), (_replace_by_folder, "records_failed")],
    ids=["damaged", "no-file"],
)
def test_no_pull_depends_on_records(
    entrepot: Entrepot,
    client: Client,
    faults: FaultServer,
    harm: Callable[[Path], None],
    event: str,
) -> None:
    """Promise 7: whatever becomes of the file between two runs, pulls and starts go on."""
    path, _ = faults.add_blob("app", BODY)
    client.get(FAULT + path)
    records_of(entrepot, 1)
    assert entrepot.terminate() == 0
    harm(entrepot.data / FILE_NAME)
    entrepot.start()
    client = entrepot.client()
    assert client.get(FAULT + path).body == BODY
    eventually(lambda: entrepot.counter(event), what=event)
    assert client.get(FAULT + path).body == BODY
    assert entrepot.log.count(f" {event} ") == 1


def test_a_locked_database_of_records_slows_no_pull(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 7: who holds it loses records, which are counted; the proxy waits for nobody."""
    path, _ = faults.add_blob("app", BODY)
    client.get(FAULT + path)
    records_of(entrepot, 1)
    with closing(sqlite3.connect(entrepot.data / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(20):
            assert client.get(FAULT + path).body == BODY
        eventually(lambda: entrepot.counter("records_dropped") == 20, what="dropped")
        other.execute("ROLLBACK")


def test_a_full_disk_records_nothing_and_serves(
    folder: Path, start_entrepot: "StartEntrepot", faults: FaultServer
) -> None:
    """Promise 7: with no byte free, hits go on, and the log says it once."""
    need_root()
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk", 24 * MIB))
        entrepot = start_entrepot(data=str(disk / "data"))
        client = entrepot.client()
        path, _ = faults.add_blob("app", BODY)
        client.get(FAULT + path)
        entrepot.await_stored([path.rpartition("/")[2]])
        records_of(entrepot, 1)
        fill(disk)
        for number in range(400):
            client.head(f"{FAULT}/v2/{'r' * 200}{number}/tags/list")
        assert client.get(FAULT + path).body == BODY
        eventually(lambda: entrepot.counter("records_dropped"), what="dropped")
        assert entrepot.log.count(" records_failed ") == 1
        entrepot.kill9()


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    subprocess.run(
        [program("dd"), "if=/dev/zero", f"of={folder / 'filler'}", "bs=4k"],
        check=False,
        capture_output=True,
    )
