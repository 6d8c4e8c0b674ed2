"""What the page says is what went on: pulls, downloads, failures, the authority, what is held."""

import subprocess
from typing import TYPE_CHECKING, Any

from rig.client import Client, basic
from rig.faults import FaultServer, Gate, status
from rig.images import MIB, ImageFactory, incompressible
from rig.page import TOKEN, Reader
from rig.process import clean_environment, eventually
from rig.proxy import PYTHON, Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
HUB = "hub.example.test"


def api(proxy: Entrepot, path: str) -> dict[str, Any]:
    answer = Reader(proxy.port).ask("GET", f"/api/{path}")
    assert answer.status == 200, answer.body
    return answer.json()


def pull(client: Client, upstreams: Upstreams, images: ImageFactory, name: str) -> int:
    """Pull an image whole, as a client that knows what is in it; its bytes."""
    image = images.image(name)
    upstreams.push(image, f"{HUB}/{name}/app:1")
    base = f"https://{HUB}/v2/{name}/app"
    answers = [client.get(f"{base}/manifests/1", {"Accept": image.root.media_type})]
    answers += [client.get(f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    assert all(answer.status == 200 for answer in answers)
    client.await_stored()
    return sum(len(answer.body) for answer in answers)


def test_figures_are_what_went_over_the_line(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """The first pull is fetched, the second saves as much; both are seen where one looks."""
    size = pull(client, upstreams, images, "page-figures")
    assert pull(client, upstreams, images, "page-figures") == size

    def total() -> dict[str, Any]:
        found: dict[str, Any] = api(entrepot, "figures?period=hour")["total"]
        return found

    eventually(lambda: total()["sent"] >= 2 * size, what="both pulls recorded")
    assert total()["saved"] == size
    assert total()["from_upstream"] == size
    assert total()["pulls"] == 2
    measured = Reader(entrepot.port).get("/ui/live/setup").body.decode()
    assert measured.count("page-figures") == 2, "each with what came of it"
    assert measured.index("100 %") < measured.index("0 %", measured.index("100 %") + 5)
    assert (
        "No pull from 10.9.9.9"
        in Reader(entrepot.port).get("/ui/live/setup?client=10.9.9.9").body.decode()
    )
    (image,) = api(entrepot, "images")["images"]
    assert image["names"] == [f"{HUB}/page-figures/app:1"]
    assert image["size"] == size
    assert api(entrepot, "registries")["registries"] == [
        {"registry": HUB, "images": 1, "size": size}
    ]
    (found,) = api(entrepot, "clients")["clients"]
    assert (found["client"], found["pulls"], found["sent"]) == ("127.0.0.1", 2, 2 * size)
    (first, *_) = api(entrepot, "requests?outcome=hit")["requests"]
    assert first["why"]
    page = Reader(entrepot.port).get("/ui/images").body.decode()
    assert "page-figures/<wbr>app" in page
    held = api(entrepot, "state")["usage"]["held"]
    assert held >= size


def test_a_download_says_how_far_it_is_and_who_waits(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """While it runs; then it is gone."""
    path, content = faults.add_blob("app", b"".join(incompressible("page", 4 * MIB)))
    content.gate = Gate(MIB)
    with client.open("GET", FAULT + path):

        def downloads() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = api(entrepot, "state")["downloads"]
            return found

        eventually(lambda: downloads()[:1] and downloads()[0]["written"] == MIB, what="MIB")
        (one,) = downloads()
        assert (one["registry"], one["repositories"]) == (FAULT, ["app"])
        assert (one["size"], one["waiting"], one["clients"]) == (4 * MIB, 1, ["127.0.0.1"])
        assert one["rate"] > 0
        content.gate.open()
        eventually(lambda: not downloads(), what="the download over")


def test_a_registry_in_trouble_needs_attention(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """It is named on the overview, and why on its own page."""
    faults.routes["/v2/app/manifests/1"] = status(503)
    client.get(f"{FAULT}/v2/app/manifests/1")
    (problem,) = api(entrepot, "state")["problems"]
    assert problem["code"] == "upstreams"
    assert api(entrepot, "upstreams")[FAULT]["state"] == "failing"
    reader = Reader(entrepot.port)
    assert b"https://fault.example.test (failing)" in reader.get("/").body
    assert b"it answered 503" in reader.get("/ui/upstreams").body


def test_an_authority_that_changes_is_shown(start_entrepot: "StartEntrepot") -> None:
    """Both fingerprints where a client is set up, and that it goes on."""
    proxy = start_entrepot()
    reader = Reader(proxy.port)
    before = api(proxy, "setup")
    assert before["rotation"] is None
    assert before["fingerprint"] in before["line"]
    subprocess.run(
        [PYTHON, "-m", "entrepot.cli", "ca", "rotate", "--data", str(proxy.data)],
        check=True,
        capture_output=True,
        timeout=60,
        env=clean_environment(proxy.folder),
    )
    eventually(lambda: api(proxy, "setup")["rotation"], what="the rotation noticed")
    page = reader.get("/ui/setup").body.decode()
    assert api(proxy, "setup")["rotation"]["successor"] in page
    assert "Its successor, from" in page
    assert b"The authority changes" in reader.get("/ui/clients").body
    assert b"The authority changes" in reader.get("/").body


def test_nothing_secret_is_in_any_answer(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer
) -> None:
    """Neither of the settings, nor of a request with a login."""
    secret = "s3cret-of-this-test-alone"  # noqa: S105 of this test
    proxy = start_entrepot(
        admin_token=TOKEN, proxyauth=f"me:{secret}", resolve=[*upstreams.resolve, *faults.resolve]
    )
    client = proxy.client(proxy_authorization=basic("me", secret))
    fields = {"Authorization": f"Bearer {secret}", "User-Agent": "plain"}
    faults.routes["/v2/app/manifests/1"] = status(401)
    client.get(f"{FAULT}/v2/app/manifests/1?token={secret}", fields)
    reader = Reader(proxy.port)
    eventually(lambda: b"plain" in reader.get("/ui/requests").body, what="the record")
    for path in ("/", "/ui/requests", "/ui/settings", "/ui/clients", "/api/requests"):
        body = reader.get(path).body.decode()
        assert secret not in body
        assert TOKEN not in body
    for path in ("/api/settings", "/api/state", "/api/setup"):
        assert secret not in reader.get(path).body.decode()
