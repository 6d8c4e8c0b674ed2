"""Pulls that break off, on the client's side and on upstream's."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.command import check, kill
from rig.faults import FaultServer, Gate
from rig.images import KIB, Blob, Image, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

NAME = "fault.example.test/app:1"
SIZES = (60 * KIB, 30 * KIB, 1000 * KIB)  # the last is the one that is interrupted


def begin(client: RealClient) -> "subprocess.Popen[str]":
    """Start a pull that the test will kill."""
    match client:
        case Dockerd():
            return client.cli.start("pull", NAME)
        case Containerd():
            return client.ctr.start("content", "fetch", NAME)  # what its pull begins with
        case Skopeo():
            client.remove(NAME)  # makes the folder
            return client.cli.start("copy", f"docker://{NAME}", f"dir:{client.target(NAME)}")
        case Podman():
            return client.cli.start("pull", "--quiet", NAME)
        case _:
            raise TypeError(client)


def path_of(blob: Blob) -> str:
    return f"/v2/app/blobs/{blob.digest}"


def fetches(faults: FaultServer, blob: Blob) -> list[tuple[str | None, int]]:
    """Return the Range and the bytes sent of every GET of a blob."""
    return [(one.range, one.sent) for one in faults.of(path=path_of(blob), method="GET")]


def begin_and_kill(
    client: RealClient, faults: FaultServer, entrepot: Entrepot, image: Image
) -> None:
    """Leave when the last layer has begun and the others are stored."""
    process = begin(client)
    try:
        faults.await_request(path=path_of(image.layers[-1]), method="GET", sent=300 * KIB)
        entrepot.await_stored(layer.digest for layer in image.layers[:-1])
    finally:
        kill(process)


def test_a_pull_tried_again_joins_the_fetch_that_went_on(
    any_client: RealClient, entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 3: a fetch outlives its client; the next pull costs upstream no byte twice."""
    image, gate = images.image("cancelled", SIZES), Gate(300 * KIB)
    faults.publish(image, "app", "1")[image.layers[-1].digest].gate = gate
    with ThreadPoolExecutor(1) as pool:
        try:
            begin_and_kill(any_client, faults, entrepot, image)
            again = pool.submit(any_client.pull, NAME)
            eventually(lambda: entrepot.counter("blob_collapsed") > 0, what="a second reader")
        finally:
            gate.open()
        check(again.result())
    assert [fetches(faults, blob) for blob in image.blobs] == [
        [(None, blob.size)] for blob in image.blobs
    ]


def test_a_fetch_ends_well_though_nobody_waits_for_it(
    any_client: RealClient, entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 3: what a killed pull began is whole in the cache when the next one comes."""
    image, gate = images.image("left alone", SIZES), Gate(300 * KIB)
    faults.publish(image, "app", "1")[image.layers[-1].digest].gate = gate
    try:
        begin_and_kill(any_client, faults, entrepot, image)
    finally:
        gate.open()
    entrepot.await_stored(layer.digest for layer in image.layers)
    check(any_client.pull(NAME))
    assert [fetches(faults, blob) for blob in image.blobs] == [
        [(None, blob.size)] for blob in image.blobs
    ]


def test_no_client_sees_that_upstream_broke_off(
    any_client: RealClient, entrepot: Entrepot, faults: FaultServer, images: ImageFactory
) -> None:
    """Promise 3: a fetch that upstream cut is resumed; podman 4 and skopeo 1.9 would give up."""
    image, cut_after = images.image("cut", SIZES), 500 * KIB
    large = image.layers[-1]
    content = faults.publish(image, "app", "1")[large.digest]
    content.cut_after, content.cuts = cut_after, 1
    content.reset = False  # a reset may overtake bytes that were sent before it
    check(any_client.pull(NAME))
    first, second = fetches(faults, large)
    assert first == (None, cut_after)
    assert second[0] is not None
    assert second[1] <= large.size - cut_after + 1
    assert entrepot.counter("blob_misses") == len(image.blobs)  # the client asked only once
    assert entrepot.counter("blob_collapsed") == 0
    assert entrepot.counter("transfer_cut") == 0


def test_an_error_of_our_own_leaves_the_connection_in_order(
    containerd: Containerd, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A HEAD that fails for want of an upstream has no body, which would be the next answer."""
    check(containerd.pull(upstreams.push(images.image("up"), "hub.example.test/up:1")))
    with upstreams.down():
        finished = containerd.pull("hub.example.test/never-pulled:1")
    assert finished.returncode != 0
    assert "Unsolicited response" not in finished.stderr
