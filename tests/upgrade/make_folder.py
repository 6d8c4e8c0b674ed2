"""Makes data-VERSION.tar.xz, the data folder of an earlier version: see README.md beside this.

    cd tests && python -m upgrade.make_folder CHECKOUT VERSION

CHECKOUT has the code of that version. It runs under this Python, with what is installed for it.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rig.client import Client
from rig.images import KIB, Image, ImageFactory
from rig.process import eventually, program
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

PUBLIC = "registry.example.test/public/app:1"
PRIVATE = "registry.example.test/private/app:1"
LIST = "registry-1.docker.io/library/tool:1"


def main(checkout: Path, version: str) -> None:
    """Pull three images through the proxy of that version, end it in order, pack its folder."""
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp") as name:
        folder = Path(name)
        images = ImageFactory(folder / "images")
        pulled = {
            PUBLIC: images.image(PUBLIC, (8 * KIB, 4 * KIB)),
            PRIVATE: images.image(PRIVATE, (6 * KIB,)),
            LIST: images.multi_arch(LIST, (5 * KIB,)),
        }
        upstreams = Upstreams(folder / "upstreams")
        try:
            upstreams.start()
            data = _pull_all(folder, checkout, upstreams, pulled)
        finally:
            upstreams.stop()
        listed = {name: _described(image) for name, image in pulled.items()}
        (data / "pulled.json").write_text(json.dumps(listed, indent=1))
        _pack(data, Path(__file__).with_name(f"data-{version}.tar.xz"))


def _pull_all(
    folder: Path, checkout: Path, upstreams: Upstreams, pulled: Mapping[str, Image]
) -> Path:
    old = f"{checkout / 'addon'}:{checkout / 'ca'}"
    options = {"upstream_ca": str(upstreams.authority.pem), "resolve": upstreams.resolve}
    proxy = Entrepot(folder / "old", {**options, "size": "1GiB"}, env={"PYTHONPATH": old})
    proxy.start()
    client = proxy.client()
    for name, image in pulled.items():
        upstreams.push(image, name)
        pull(client, name, image, "alice" if name == PRIVATE else None)
    count = sum(len(image.blobs) for image in pulled.values())
    stored = re.compile(r" (blob_)?stored .*sha256:")  # as versions call it
    eventually(lambda: len(stored.findall(proxy.log)) >= count, what="all stored")
    if proxy.terminate():
        sys.exit(f"the old version did not end in order:\n{proxy.log}")
    return proxy.data


def pull(client: Client, name: str, image: Image, account: str | None) -> None:
    """Every manifest and blob of an image, as a client asks for them."""
    netloc, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    base = f"https://{netloc}/v2/{repository}"
    login = client.authorization(f"{base}/manifests/{tag}", account, "wonderland")
    headers = {"Authorization": login}
    assert client.manifest(f"{base}/manifests/{tag}", headers).digest == image.digest
    for child in image.children:
        assert client.manifest(f"{base}/manifests/{child.digest}", headers).body == child.body
    for blob in image.blobs:
        assert client.get(f"{base}/blobs/{blob.digest}", headers).body == blob.read()


def _described(image: Image) -> dict[str, object]:
    return {
        "manifests": [manifest.digest for manifest in image.manifests],  # the tag's is the last
        "blobs": [blob.digest for blob in image.blobs],
    }


def _pack(data: Path, target: Path) -> None:
    (data / "upstream-ca.pem").unlink()  # this machine's roots, written at each start
    with tarfile.open(target, "w:xz", preset=9) as tar:
        tar.add(data, "data", filter=_without_owner)
    subprocess.run([program("ls"), "-l", str(target)], check=True)


def _without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
