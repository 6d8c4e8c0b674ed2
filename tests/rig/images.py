"""Images made without any container tool: OCI or Docker manifests, gzip or zstd layers.

Layers are real tar files of incompressible bytes that depend only on the seed, so the same call
gives the same digests on every run (the dates inside are fixed).
"""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KIB = 1024
MIB = 1024 * KIB

Format = Literal["oci", "docker"]
Compression = Literal["gzip", "stored", "zstd"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ANY_MANIFEST = f"{OCI_INDEX}, {DOCKER_LIST}, {OCI_MANIFEST}, {DOCKER_MANIFEST}"

_CONFIG_TYPE = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_LAYER_TYPE = {
    ("oci", "gzip"): "application/vnd.oci.image.layer.v1.tar+gzip",
    ("oci", "stored"): "application/vnd.oci.image.layer.v1.tar+gzip",
    ("oci", "zstd"): "application/vnd.oci.image.layer.v1.tar+zstd",
    ("docker", "gzip"): "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ("docker", "stored"): "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_CREATED = "2024-01-01T00:00:00Z"
_CREATED_SECONDS = 1704067200


@dataclass(frozen=True, slots=True)
class Blob:
    """A config or a layer: a file named by its digest."""

    digest: str
    size: int
    media_type: str
    path: Path

    def read(self) -> bytes:
        return self.path.read_bytes()

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index: its exact bytes."""

    media_type: str
    body: bytes

    @property
    def digest(self) -> str:
        return _digest(self.body)


@dataclass(frozen=True, slots=True)
class Image:
    """What a tag points at (`root`), and all that hangs on it.

    `children` are an index's manifests (none for a plain image); `blobs` are configs and layers.
    """

    root: Manifest
    children: tuple[Manifest, ...]
    configs: tuple[Blob, ...]
    layers: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        return self.root.digest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return self.configs + self.layers

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Children first: the order in which a registry takes them."""
        return (*self.children, self.root)

    @property
    def layer_bytes(self) -> int:
        return sum(layer.size for layer in self.layers)


class ImageFactory:
    """Makes images whose blobs lie in one folder; a layer made once is not made again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._layers: dict[tuple[str, int, int, Compression], tuple[str, Path, str]] = {}

    def image(
        self,
        seed: str,
        sizes: Sequence[int] = (64 * KIB, 32 * KIB),
        *,
        form: Format = "oci",
        compression: Compression = "gzip",
        arch: str = "amd64",
    ) -> Image:
        """Return a one-platform image with a layer of about each of `sizes` bytes."""
        made = [self._layer(seed, n, size, compression) for n, size in enumerate(sizes)]
        layers = tuple(
            _blob(digest, path, _LAYER_TYPE[form, compression]) for digest, path, _ in made
        )
        config = self._config(seed, arch, [diff_id for _, _, diff_id in made], form)
        media_type = OCI_MANIFEST if form == "oci" else DOCKER_MANIFEST
        manifest = _manifest(
            media_type,
            config=config.descriptor,
            layers=[layer.descriptor for layer in layers],
        )
        return Image(manifest, (), (config,), layers)

    def multi_arch(
        self,
        seed: str,
        sizes: Sequence[int] = (64 * KIB, 32 * KIB),
        *,
        form: Format = "oci",
        compression: Compression = "gzip",
        archs: Sequence[str] = ("amd64", "arm64"),
    ) -> Image:
        """Return an index (or Docker list) of one image an architecture, no blob in common."""
        images = [
            self.image(f"{seed}-{arch}", sizes, form=form, compression=compression, arch=arch)
            for arch in archs
        ]
        entries = [
            {
                "mediaType": image.root.media_type,
                "digest": image.digest,
                "size": len(image.root.body),
                "platform": {"architecture": arch, "os": "linux"},
            }
            for arch, image in zip(archs, images, strict=True)
        ]
        root = _manifest(OCI_INDEX if form == "oci" else DOCKER_LIST, manifests=entries)
        return Image(
            root,
            tuple(image.root for image in images),
            tuple(config for image in images for config in image.configs),
            tuple(layer for image in images for layer in image.layers),
        )

    def big(
        self, seed: str, total: int = 240 * MIB, layers: int = 8, form: Format = "oci"
    ) -> Image:
        """Return an image of about `total` bytes in equal layers, gzip without compression.

        By itself layers that are too small to be fetched by several connections, which a busy
        machine would have the proxy make: upstream then sends more than the layer.
        """
        return self.image(seed, [total // layers] * layers, form=form, compression="stored")

    def of_files(self, seed: str, count: int, size: int, *, changed: int = 0) -> Image:
        """Return an image with one layer of `count` files, each of `size` bytes.

        Of these so many are `changed`, evenly spread: others than without.
        """
        every = count // changed if changed else 0
        files = {
            f"file-{number}": f"{seed}/{number}/{bool(every) and number % every == 0}"
            for number in range(count)
        }
        digest, path, diff_id = self._write_layer(files, size, "gzip")
        layer = _blob(digest, path, _LAYER_TYPE["oci", "gzip"])
        config = self._config(seed, "amd64", [diff_id], "oci")
        manifest = _manifest(OCI_MANIFEST, config=config.descriptor, layers=[layer.descriptor])
        return Image(manifest, (), (config,), (layer,))

    def _layer(
        self, seed: str, number: int, size: int, compression: Compression
    ) -> tuple[str, Path, str]:
        key = (seed, number, size, compression)
        if key not in self._layers:
            files = {f"layer-{number}.bin": f"{seed}/{number}"}
            self._layers[key] = self._write_layer(files, size, compression)
        return self._layers[key]

    def _write_layer(
        self, files: Mapping[str, str], size: int, compression: Compression
    ) -> tuple[str, Path, str]:
        """Write a layer of files, given what each is made of."""
        unfinished = self._folder / "unfinished"
        with unfinished.open("wb") as file:
            packed = _Hashed(file)
            with _compressor(packed, compression) as inner:
                unpacked = _Hashed(inner)
                for name, seed in files.items():
                    _write_file(unpacked, name, seed, size)
                unpacked.write(bytes(2 * tarfile.BLOCKSIZE))
        path = self._folder / packed.digest.replace(":", "-")
        unfinished.rename(path)
        return packed.digest, path, unpacked.digest

    def _config(self, seed: str, arch: str, diff_ids: Sequence[str], form: Format) -> Blob:
        content = json.dumps(
            {
                "architecture": arch,
                "os": "linux",
                "created": _CREATED,
                "config": {"Labels": {"rig.seed": seed}, "Cmd": ["/layer-0.bin"]},
                "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
                "history": [{"created": _CREATED, "created_by": "rig"} for _ in diff_ids],
            }
        ).encode()
        digest = _digest(content)
        path = self._folder / digest.replace(":", "-")
        path.write_bytes(content)
        return _blob(digest, path, _CONFIG_TYPE[form])


def incompressible(seed: str, size: int) -> Iterator[bytes]:
    """Yield `size` random-looking bytes in chunks of at most 1 MiB: AES-CTR keyed by the seed."""
    key = hashlib.sha256(seed.encode()).digest()
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    for start in range(0, size, MIB):
        yield stream.update(bytes(min(MIB, size - start)))


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Hashed:
    """A writer that hashes what passes through."""

    def __init__(self, target: _Writable) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self._length = 0

    def write(self, data: bytes, /) -> int:
        self._hash.update(data)
        self._target.write(data)
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Have nothing to flush: the file below is closed by who opened it."""

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def _compressor(target: _Hashed, compression: Compression) -> Iterator[_Writable]:
    if compression == "zstd":
        with zstandard.ZstdCompressor(level=1).stream_writer(
            cast("IO[bytes]", target), closefd=False
        ) as writer:
            yield writer
        return
    level = 0 if compression == "stored" else 1
    sink = cast("IO[bytes]", target)
    with gzip.GzipFile(
        filename="", mode="wb", compresslevel=level, fileobj=sink, mtime=0
    ) as packed:
        yield packed


def _write_file(target: _Hashed, name: str, seed: str, size: int) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o644, _CREATED_SECONDS
    target.write(header.tobuf(tarfile.USTAR_FORMAT))
    for chunk in incompressible(seed, size):
        target.write(chunk)
    target.write(bytes(-size % tarfile.BLOCKSIZE))


def _blob(digest: str, path: Path, media_type: str) -> Blob:
    return Blob(digest, path.stat().st_size, media_type, path)


def _manifest(media_type: str, **content: object) -> Manifest:
    body = {"schemaVersion": 2, "mediaType": media_type, **content}
    return Manifest(media_type, json.dumps(body, indent=1).encode())


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
