"""What the commands about images print with `--json`, by their schemas; and as YAML the same."""

from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from rig.entrepot_command import document, entrepot
from rig.faults import FaultServer
from rig.images import ImageFactory

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"


def test_each_prints_what_its_schema_says(
    start_entrepot: "StartEntrepot", faults: FaultServer, images: ImageFactory
) -> None:
    proxy = start_entrepot()
    image, name = images.image("as-json"), f"{HOST}/acme/app:1"
    faults.publish(image, "acme/app", "1")
    client, base = proxy.client(), f"https://{HOST}/v2/acme/app"
    client.manifest(f"{base}/manifests/1")
    for blob in image.blobs:
        client.get(f"{base}/blobs/{blob.digest}")
    proxy.await_stored(blob.digest for blob in image.blobs)
    where = ("--data", proxy.data)
    told = document(proxy.folder, "ls", "ls", *where)
    assert [one["names"] for one in told["images"]] == [[name]]
    yaml = entrepot(proxy.folder, "ls", "-o", "yaml", *where).stdout
    assert YAML(typ="safe", pure=True).load(yaml) == told
    assert len(document(proxy.folder, "ls", "ls", "--next", *where)["objects"]) == 4
    (shown,) = document(proxy.folder, "show", "show", name, *where)["images"]
    assert shown["digest"] == image.root.digest
    assert document(proxy.folder, "pin", "pin", name, *where)["names"] == [name]
    assert document(proxy.folder, "pin", "unpin", name, *where)["pinned"] == 0
    assert document(proxy.folder, "rm", "rm", name, "--dry-run", *where)["removed"] == [name]
    assert document(proxy.folder, "rm", "rm", name, *where)["dry_run"] is False
    assert document(proxy.folder, "ls", "ls", *where)["images"] == []
