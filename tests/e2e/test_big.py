"""An image of 240 MiB: the proxy holds no body whole, whichever way it goes."""

import pytest

from rig.clients import RealClient, Skopeo
from rig.command import check
from rig.images import MIB, ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

MOST_MEMORY = 150 * MIB


@pytest.mark.unforked
def test_a_large_image_is_cached_in_bounded_memory(
    any_client: RealClient, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 6: 240 MiB pulled cold and warm never need more than 150 MiB of memory."""
    image = images.big("big")
    name = upstreams.push(image, "hub.example.test/big:1")
    mark = upstreams.mark()
    check(any_client.pull(name))
    assert upstreams.requests(mark).blob_bytes == sum(blob.size for blob in image.blobs)

    any_client.remove(name)
    mark = upstreams.mark()
    check(any_client.pull(name))
    assert upstreams.requests(mark).blob_bytes == 0
    assert entrepot.rss_peak() <= MOST_MEMORY


@pytest.mark.unforked
def test_a_large_push_passes_in_bounded_memory(
    skopeo: Skopeo, entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 6: 240 MiB pushed through the proxy are streamed, not held."""
    image = images.big("big")
    name = upstreams.push(image, "hub.example.test/big:1")
    check(skopeo.pull(name))
    entrepot.reset_rss_peak()
    mark = upstreams.mark()
    check(skopeo.push(name, "target.example.test/pushed-big:1"))
    sent = sum(seen.received for seen in upstreams.requests(mark).of(kind="upload"))
    assert sent >= image.layer_bytes
    assert entrepot.rss_peak() <= MOST_MEMORY
