"""Images put into a store as pulls put them there."""

import json
from dataclasses import dataclass, field

from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Repository
from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import CachedImage
from entrepot.storage.inventory.inventory import steps
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.store import Store
from unit.storage.world import deliver

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPT = f"{INDEX},{MANIFEST}"


@dataclass(frozen=True)
class Made:
    """An image's manifest, its blobs by digest, and the manifests of an index."""

    content: bytes
    media_type: str
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    children: tuple["Made", ...] = ()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.content)

    @property
    def size(self) -> int:
        """What it takes alone, with all that it lists, each object once."""
        return sum(map(len, self.objects().values()))

    def objects(self) -> dict[Digest, bytes]:
        """Its manifests and blobs."""
        objects = {self.digest: self.content, **self.blobs}
        for child in self.children:
            objects |= child.objects()
        return objects


def image(*layers: bytes, arch: str = "amd64") -> Made:
    """An image of one platform."""
    made_of = [str(Digest.of(layer)) for layer in layers]
    config = json.dumps({"os": "linux", "architecture": arch, "layers": made_of}).encode()
    document = {
        "mediaType": MANIFEST,
        "config": {"digest": str(Digest.of(config))},
        "layers": [{"digest": digest} for digest in made_of],
    }
    blobs = {Digest.of(blob): blob for blob in (config, *layers)}
    return Made(json.dumps(document).encode(), MANIFEST, blobs)


def index(*children: Made, archs: tuple[str, ...] = ("amd64", "arm64")) -> Made:
    """An index of images, of which perhaps not all are pulled."""
    entries = [
        {"digest": str(child.digest), "platform": {"os": "linux", "architecture": arch}}
        for child, arch in zip(children, archs, strict=False)
    ]
    return Made(json.dumps({"manifests": entries}).encode(), INDEX, {}, children)


def pull(
    store: Store,
    repository: Repository,
    made: Made,
    tag: str | None = None,
    *,
    only: tuple[Made, ...] | None = None,
) -> None:
    """Store an image as a pull does; of an index all its images, or ``only`` some."""
    put(store, repository, made)
    if tag is not None:
        store.tags.set(repository, tag, ACCEPT, made.digest)
    for child in made.children if only is None else only:
        pull(store, repository, child)
    for blob in made.blobs.values():
        deliver(store, repository, blob)


def put(store: Store, repository: Repository, made: Made) -> None:
    """Store a manifest alone."""
    assert store.manifests.put(
        repository, made.digest, made.content, made.media_type, given_to=ANYONE
    )


def listed(store: Store, text: str = "") -> dict[str, CachedImage]:
    """Every image that a filter leaves, by its first name."""
    store.inventory.forget()
    found = store.inventory.page(Selection.filtered(text), most=1000).images
    return {name_of(image): image for image in found}


def name_of(found: CachedImage) -> str:
    end = f":{found.tags[0]}" if found.tags else f"@{found.digest}"
    return f"{found.registry}/{found.repository}{end}"


def remove(store: Store, *names: str) -> int:
    """Remove images; the bytes that became free."""
    removal = store.inventory.removal([ImageName.parse(name) for name in names])
    done = 0
    while done < steps(removal):
        done = store.inventory.remove_some(removal, done)
    return removal.size


def pin(store: Store, *names: str, pinned: bool = True, limit: int | None = None) -> int:
    """Pin images, or unpin them; the bytes of all pins."""
    change = store.inventory.pin_change(
        [ImageName.parse(name) for name in names], limit or store.limit, pin=pinned
    )
    store.inventory.carry_out(change)
    return change.size
