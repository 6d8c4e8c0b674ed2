"""Models as registries hold them: manifests whose layers are files, not archives.

Sources: Ollama's are what `curl https://registry.ollama.ai/v2/library/all-minilm/manifests/latest`
answers; ModelPack's https://github.com/modelpack/model-spec/blob/main/docs/spec.md; KitOps'
https://github.com/kitops-ml/kitops/blob/main/pkg/lib/constants/mediatypes.go; Docker Model Runner's
https://github.com/docker/model-runner/tree/main/pkg/distribution.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rig.images import DOCKER_MANIFEST, OCI_MANIFEST, Blob, Image, Manifest, incompressible

OLLAMA = "application/vnd.ollama.image"


def ollama_model(folder: Path, seed: str, size: int) -> Image:
    """A model of one large layer, with a licence and parameters, as most of Ollama's are."""
    layers = [
        blob(folder, f"{OLLAMA}.model", *incompressible(seed, size)),
        blob(folder, f"{OLLAMA}.license", f"licence of {seed}\n".encode() * 400),
        blob(folder, f"{OLLAMA}.params", b'{"stop":["<|im_end|>"]}'),
    ]
    return _model(DOCKER_MANIFEST, _docker_config(folder, seed), layers)


def tensor_model(folder: Path, seed: str, sizes: Sequence[int]) -> Image:
    """A model of many tensors, each a layer, as Ollama has them of safetensors."""
    layers = [
        blob(folder, f"{OLLAMA}.tensor", *incompressible(f"{seed} {number}", size))
        for number, size in enumerate(sizes)
    ]
    return _model(DOCKER_MANIFEST, _docker_config(folder, seed), layers)


def artifact(
    folder: Path,
    seed: str,
    layers: Sequence[tuple[str, int]],
    *,
    config: str,
    **more: object,
) -> Image:
    """An OCI artifact with layers of these media types and sizes; `more` goes into its manifest."""
    made = [
        blob(folder, media_type, *incompressible(f"{seed} {number}", size))
        for number, (media_type, size) in enumerate(layers)
    ]
    return _model(OCI_MANIFEST, blob(folder, config, b"{}"), made, **more)


def blob(folder: Path, media_type: str, *pieces: bytes) -> Blob:
    """A file of these bytes, named by its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    unnamed, hasher = folder / "unnamed", hashlib.sha256()
    with unnamed.open("wb") as file:
        for piece in pieces:
            hasher.update(piece)
            file.write(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    path = folder / digest.replace(":", "-")
    unnamed.rename(path)
    return Blob(digest, path.stat().st_size, media_type, path)


def _docker_config(folder: Path, seed: str) -> Blob:
    content = {"model_format": "gguf", "model_family": seed, "rootfs": {"type": "layers"}}
    kind = "application/vnd.docker.container.image.v1+json"
    return blob(folder, kind, json.dumps(content).encode())


def _model(kind: str, config: Blob, layers: Sequence[Blob], **more: object) -> Image:
    content = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": config.descriptor,
        "layers": [layer.descriptor for layer in layers],
        **more,
    }
    return Image(Manifest(kind, json.dumps(content).encode()), (), (config,), tuple(layers))
