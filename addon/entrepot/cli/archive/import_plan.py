"""What is to be taken in of an archive: which images, under which names, in which order.

An image must be whole: of a manifest all that it lists, of an index at least one of its manifests,
and whole each that is there. Blobs come before what lists them, so that what is broken off leaves
nothing that names what is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from entrepot.app.start_error import StartError
from entrepot.cli.archive import layout
from entrepot.cli.archive.tar_reader import Archive
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.image_names import ImageName
from entrepot.protocol.quirks import HUB, HUB_NAME

_DEEPEST = 3
_MOST_IMAGES = 100_000


@dataclass(slots=True)
class ImportedImage:
    """An image to take in; its objects in the order in which they are."""

    name: ImageName
    repository: Repository
    root: Digest
    blobs: dict[Digest, layout.Descriptor] = field(default_factory=dict)
    manifests: dict[Digest, layout.Descriptor] = field(default_factory=dict)
    size: int = 0

    @property
    def tag(self) -> str:
        """Empty where its name has a digest."""
        return self.name.reference.name if isinstance(self.name.reference, Tag) else ""


def planned(archive: Archive, named: str | None) -> list[ImportedImage]:
    """The images of an archive; ``named`` is what one without a name is called.

    Raises ``StartError`` where one is not whole, or has no name.
    """
    try:
        return [_image(archive, entry, named) for entry in _entries(archive.index, named)]
    except ValueError as error:
        raise StartError(f"index.json: {error}") from None


def _entries(index: bytes, named: str | None) -> list[object]:
    entries = layout.document_of(index).get("manifests")
    if not isinstance(entries, list) or not 0 < len(entries) <= _MOST_IMAGES:
        raise ValueError("there is no image in it")
    if named is not None and len(entries) > 1:
        raise ValueError(f"{len(entries)} images are in it, which cannot have one name")
    return entries


def _image(archive: Archive, entry: object, named: str | None) -> ImportedImage:
    if not isinstance(entry, dict):
        raise ValueError("expected descriptors")  # noqa: TRY004 it was read
    root = layout.descriptor(entry)
    said = entry.get("annotations")
    annotations = said if isinstance(said, dict) else {}
    name = _name(annotations, root.digest, named)
    origin = _origin(name, annotations.get(layout.ORIGIN))
    image = ImportedImage(name, Repository(origin, name.path), root.digest)
    _walk(archive, image, root, _DEEPEST)
    return image


def _name(annotations: Mapping[str, object], digest: Digest, named: str | None) -> ImageName:
    full = annotations.get(layout.FULL_NAME)
    reference = annotations.get(layout.REF_NAME)
    text = named or full or (reference if _is_full(reference) else None)
    if not isinstance(text, str):
        said = f" but for {str(reference)[:200]!r}" if reference is not None else ""
        reason = f"{digest} has no name in it{said}; name it by --name"
        raise ValueError(reason)  # noqa: TRY004 it was read
    name = ImageName.parse(text)
    if name.is_prefix:
        raise ValueError(f"expected the name of one image, got {text!r}")
    if isinstance(name.reference, Digest) and name.reference != digest:
        raise ValueError(f"{text!r} is {digest} in it")
    return ImageName(name.registry, name.path, name.reference or Tag("latest"))


def _is_full(reference: object) -> bool:
    """Whether it is more than a tag, which is all that it has to be."""
    return isinstance(reference, str) and "/" in reference


def _origin(name: ImageName, said: object) -> Origin:
    if name.registry == HUB_NAME:
        return HUB
    usual = Origin.parse(f"https://{name.registry}")
    if not isinstance(said, str):
        return usual
    origin = Origin.parse(said)
    if origin.host != usual.host:
        raise ValueError(f"{said!r} is no place of {name.registry}")
    return origin


def _walk(archive: Archive, image: ImportedImage, one: layout.Descriptor, depth: int) -> None:
    content = archive.manifest(one.digest)
    if content is None:
        raise StartError(f"{image.name}: incomplete, {one.digest} is not in the archive")
    image.size += len(content)
    if not layout.is_index(content):
        _add_blobs(archive, image, content)
        image.manifests[one.digest] = one
        return
    if not depth:
        raise ValueError("its indices are nested too deep")
    children = [child for child in layout.listed(content) if child.digest in archive.files]
    if not children:
        raise StartError(f"{image.name}: incomplete, none of its platforms is in the archive")
    for child in children:
        if child.digest not in image.manifests:
            _walk(archive, image, child, depth - 1)
    image.manifests[one.digest] = one


def _add_blobs(archive: Archive, image: ImportedImage, content: bytes) -> None:
    for blob in layout.listed(content):
        if blob.digest not in archive.files:
            raise StartError(f"{image.name}: incomplete, {blob.digest} is not in the archive")
        if blob.digest not in image.blobs:
            image.blobs[blob.digest] = blob
            image.size += archive.sizes[blob.digest]
