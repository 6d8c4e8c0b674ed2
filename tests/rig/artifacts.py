"""What is attached to images, or is none: signatures, SBOMs, attestations, charts.

And the requests by which their clients find, verify and pull them, each taken from its source: they
cannot be had here as programs. A trace gives the bodies that its client got, in order.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from rig.client import Answer, Client
from rig.images import ANY_MANIFEST, OCI_INDEX, OCI_MANIFEST, Blob, Image, Manifest

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SBOM_TYPE = "application/spdx+json"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def artifact(
    folder: Path,
    payload: bytes,
    media_type: str,
    *,
    subject: Image | None = None,
    config_type: str = EMPTY_TYPE,
) -> Image:
    """An artifact of one layer; with the empty config of the image-spec, its type is the layer's.

    ``subject`` is the image that it is about.
    """
    config, layer = (
        _blob(folder, b"{}", config_type),
        _blob(folder, payload, media_type),
    )
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor,
        "layers": [layer.descriptor],
    }
    if config_type == EMPTY_TYPE:
        document["artifactType"] = media_type
    if subject is not None:
        document["subject"] = _descriptor(subject)
    root = Manifest(OCI_MANIFEST, json.dumps(document).encode())
    return Image(root, (), (config,), (layer,))


def referrers_index(artifacts: Sequence[Image]) -> Image:
    """The list of referrers, as a registry answers it, or as clients push it under a tag."""
    entries = [
        {**_descriptor(one), "artifactType": json.loads(one.root.body)["artifactType"]}
        for one in artifacts
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    root = Manifest(OCI_INDEX, json.dumps(document).encode())
    children = tuple(one.root for one in artifacts)
    configs = {blob.digest: blob for one in artifacts for blob in one.configs}
    layers = tuple(layer for one in artifacts for layer in one.layers)
    return Image(root, children, tuple(configs.values()), layers)


def tag_for(digest: str, suffix: str = "") -> str:
    """The tag that stands for what is attached to a manifest."""
    return digest.replace(":", "-") + suffix


def _descriptor(image: Image) -> dict[str, object]:
    root = image.root
    return {"mediaType": root.media_type, "digest": root.digest, "size": len(root.body)}


def _blob(folder: Path, content: bytes, media_type: str) -> Blob:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = folder / digest.replace(":", "-")
    path.write_bytes(content)
    return Blob(digest, len(content), media_type, path)


# Traces


def cosign_verify(client: Client, base: str, tag: str) -> list[bytes]:
    """`cosign verify IMAGE`: bundles among the referrers first, then the tag `.sig`.

    sigstore/cosign `pkg/oci/remote/remote.go`, `signatures.go`; google/go-containerregistry
    `pkg/v1/remote/referrers.go`.
    """
    image = _taken(client.manifest(f"{base}/manifests/{tag}"))
    digest = f"sha256:{hashlib.sha256(image).hexdigest()}"
    got = [image, *discover(client, base, digest)]
    signature = client.manifest(f"{base}/manifests/{tag_for(digest, '.sig')}")
    if signature.status != 404:
        got += [_taken(signature), *_layers(client, base, signature.body)]
    return got


def discover(client: Client, base: str, digest: str, artifact_type: str = "") -> list[bytes]:
    """All referrers of a manifest with what they hold, as go-containerregistry asks for them.

    Its `fetchReferrers` takes 200 with exactly the type of an index, page by page; 400, 404 and 406
    make it ask for the tag. oras-go asks the same, with `artifactType` in the query
    (`registry/remote/repository.go`).
    """
    query = f"?artifactType={artifact_type}" if artifact_type else ""
    target: str | None = f"{base}/referrers/{digest}{query}"
    got: list[bytes] = []
    host = "/".join(base.split("/")[:3])
    while target is not None:
        answer = client.get(target, {"Accept": OCI_INDEX})
        if answer.status in (400, 404, 406):
            answer = client.get(f"{base}/manifests/{tag_for(digest)}", {"Accept": OCI_INDEX})
            if answer.status == 404:
                return got
        assert answer.headers["Content-Type"] == OCI_INDEX
        got.append(_taken(answer))
        link = re.fullmatch(r'<(.*)>; rel="?next"?', answer.headers["Link"] or "")
        target = None if link is None else f"{host}{link[1]}"
    entries = [entry for page in got for entry in json.loads(page)["manifests"]]
    for entry in entries:
        manifest = _taken(client.manifest(f"{base}/manifests/{entry['digest']}"))
        got += [manifest, *_layers(client, base, manifest)]
    return got


def helm_pull(client: Client, base: str, version: str) -> list[bytes]:
    """`helm pull oci://CHART`: its versions, the tag by HEAD, then all by digest.

    helm/helm `pkg/registry/client.go` (`Tags`, `Pull`), by oras-go's `Resolve` and `Copy`.
    """
    tags = _taken(client.get(f"{base}/tags/list"))
    assert version in json.loads(tags)["tags"]
    head = client.head(f"{base}/manifests/{version}", {"Accept": ANY_MANIFEST})
    assert head.status == 200, head
    manifest = _taken(client.manifest(f"{base}/manifests/{head.headers['Docker-Content-Digest']}"))
    config = json.loads(manifest)["config"]["digest"]
    blob = _taken(client.get(f"{base}/blobs/{config}"))
    return [tags, manifest, blob, *_layers(client, base, manifest)]


def _layers(client: Client, base: str, manifest: bytes) -> list[bytes]:
    layers = json.loads(manifest)["layers"]
    return [_taken(client.get(f"{base}/blobs/{layer['digest']}")) for layer in layers]


def _taken(answer: Answer) -> bytes:
    """What a client takes; it fails with anything but 200."""
    assert answer.status == 200, (answer.status, answer.body)
    return answer.body
