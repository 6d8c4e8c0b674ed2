"""One image, pulled as a container engine does: manifests first, then what they list, at once."""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock

from entrepot.cli.frame.progress import Progress
from entrepot.cli.warm.registry_client import PullError, RegistryClient, read
from entrepot.http_client.response import Reply
from entrepot.protocol.cache_status import FIELD, UNSTORED
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.image_names import ImageName
from entrepot.protocol.manifests import MAX_SIZE
from entrepot.protocol.quirks import HUB, HUB_NAME

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}
_DEEPEST = 3
ALL = "all"
_SHORT = len("sha256:") + 12


@dataclass(slots=True)
class Pulled:
    """What came of one image. Sizes are bytes."""

    name: str
    digest: str | None = None
    platforms: list[str] = field(default_factory=list)
    blobs: int = 0
    fetched: int = 0
    """What came from the registry."""
    held: int = 0
    """What was in the cache before."""
    error: str | None = None
    lock: Lock = field(default_factory=Lock, repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to pull: where it is, and its name as it was said."""

    name: str
    repository: Repository
    reference: Tag | Digest

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Read a name; one that begins with `http://` is of a registry without TLS. ValueError."""
        scheme, mark, rest = text.rpartition("://")
        if mark and scheme not in ("http", "https"):
            raise ValueError(f"expected an image's name, got {text!r}")
        image = ImageName.parse(rest)
        if image.is_prefix:
            raise ValueError(f"expected the name of one image, got {text!r}")
        if image.registry == HUB_NAME:
            origin = HUB
        else:
            origin = Origin.parse(f"{scheme or 'https'}://{image.registry}")
        reference = image.reference or Tag("latest")
        return cls(text, Repository(origin, image.path), reference)


def own_platform() -> str:
    """The platform of this machine, as engines spell it."""
    machine = platform.machine().lower()
    return f"linux/{_MACHINES.get(machine, machine)}"


class ImagePull:
    """Pulls images for some platforms; blobs go by ``pool``."""

    def __init__(
        self,
        client: RegistryClient,
        platforms: Sequence[str],
        pool: Executor,
        progress: Progress,
    ) -> None:
        """``platforms`` as `linux/arm64`, or :data:`ALL`."""
        self._client = client
        self._platforms = platforms
        self._pool = pool
        self._progress = progress
        self._stopped = Event()

    def stop(self) -> None:
        """Break off what is under way, and begin with nothing more."""
        self._stopped.set()

    def run(self, wanted: Wanted) -> Pulled:
        """Pull one; its failure is in what is returned."""
        pulled = Pulled(wanted.name)
        try:
            content, digest = self._manifest(wanted.repository, str(wanted.reference))
            pulled.digest = digest
            layers = self._pull_manifest(wanted.repository, content, pulled, _DEEPEST)
            errors = [error for one in layers if (error := one.exception()) is not None]
            for error in errors:
                if not isinstance(error, PullError):
                    raise error
            if errors:
                more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
                pulled.error = f"{errors[0]}{more}"
        except PullError as error:
            pulled.error = str(error)
        return pulled

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise PullError("it was broken off")

    def _manifest(self, repository: Repository, reference: str) -> tuple[bytes, str | None]:
        self._check_stopped()
        with self._client.get(repository, "manifests", reference, ACCEPT) as reply:
            _check(reply, repository)
            content = b"".join(read(reply))
            digest = reply.value("Docker-Content-Digest")
        if len(content) > MAX_SIZE:
            raise PullError(f"its manifest has more than {MAX_SIZE} bytes")
        return content, digest

    def _pull_manifest(
        self, repository: Repository, content: bytes, pulled: Pulled, depth: int
    ) -> "list[Future[None]]":
        """Begin with all that a manifest lists; the blobs that are under way."""
        document = _document(content)
        entries = document.get("manifests")
        if not isinstance(entries, list):
            return [
                self._pool.submit(partial(self._blob, repository, descriptor, pulled))
                for descriptor in _descriptors(document)
            ]
        if not depth:
            raise PullError("its indices are nested too deep")
        layers: list[Future[None]] = []
        for entry in self._chosen([one for one in entries if isinstance(one, dict)]):
            if spelt := _spelt(entry):
                pulled.platforms.append(spelt)
            child, _ = self._manifest(repository, str(entry.get("digest")))
            layers += self._pull_manifest(repository, child, pulled, depth - 1)
        return layers

    def _chosen(self, entries: list[dict[str, object]]) -> list[dict[str, object]]:
        if ALL in self._platforms:
            return entries
        chosen = []
        for wanted in self._platforms:
            found = [one for one in entries if _is_for(_spelt(one), wanted)]
            if not found:
                there = ", ".join(filter(None, map(_spelt, entries))) or "none"
                raise PullError(f"it is not there for {wanted}; there is {there}")
            chosen.append(found[0])
        return chosen

    def _blob(
        self, repository: Repository, descriptor: Mapping[str, object], pulled: Pulled
    ) -> None:
        self._check_stopped()
        digest, size = str(descriptor.get("digest")), descriptor.get("size")
        announced = size if isinstance(size, int) else None
        with self._client.get(repository, "blobs", digest) as reply:
            _check(reply, repository)
            is_held = "; hit" in (reply.value(FIELD) or "")
            count = (announced or reply.length or 0) if is_held else 0
            if not is_held:
                task = self._progress.task(f"{pulled.name} {digest[7:_SHORT]}", announced)
                try:
                    for chunk in read(reply):
                        self._check_stopped()
                        count += len(chunk)
                        task.advance(len(chunk))
                finally:
                    self._progress.end(task)
        with pulled.lock:
            pulled.blobs += 1
            pulled.held += count if is_held else 0
            pulled.fetched += 0 if is_held else count


def _check(reply: Reply, repository: Repository) -> None:
    """Refuse what did not pass the cache, or is not kept. Raises ``PullError``."""
    how = reply.value(FIELD) or ""
    if "entrepot;" not in how:
        host = repository.origin.authority
        raise PullError(f"{host} is not cached: the proxy tunnels to it; see --registry")
    if UNSTORED[1] in how:
        raise PullError("there is no room for it in the cache; see --size")


def _document(content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise PullError("its manifest is no JSON object")
    return document


def _descriptors(document: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """What a manifest lists, each once."""
    layers = document.get("layers")
    listed = [document.get("config"), *(layers if isinstance(layers, list) else ())]
    seen: set[str] = set()
    for one in listed:
        digest = one.get("digest") if isinstance(one, dict) else None
        if isinstance(digest, str) and not one.get("urls") and digest not in seen:
            seen.add(digest)
            yield one


def _spelt(entry: Mapping[str, object]) -> str:
    """The platform of an entry of an index, as `linux/arm64/v8`; empty where it has none."""
    found = entry.get("platform")
    if not isinstance(found, dict):
        return ""
    words = (found.get(name) for name in ("os", "architecture", "variant"))
    return "/".join(word for word in words if isinstance(word, str) and word)


def _is_for(spelt: str, wanted: str) -> bool:
    return spelt == wanted or spelt.startswith(f"{wanted}/")
