"""What is to be written of images: which objects there are, and whether they are complete.

An index is written as the registry has it, so that its digest stays; of its images those that are
here, or those of the platforms that are wanted. An image of which a layer is missing is refused.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrepot.app.start_error import StartError
from entrepot.cli.archive import layout
from entrepot.control.client import Ask
from entrepot.protocol.identifiers import Digest

_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Part:
    """An object to write: the bytes of a manifest, or the file of a blob."""

    digest: Digest
    size: int
    content: bytes | None = None
    file: Path | None = None


@dataclass(slots=True)
class ExportPlan:
    """What an archive is to have, once each."""

    parts: dict[Digest, Part] = field(default_factory=dict)
    index: list[dict[str, object]] = field(default_factory=list)
    docker: list[dict[str, object]] = field(default_factory=list)
    images: list[dict[str, object]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The bytes of all objects."""
        return sum(part.size for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as the inventory has it, and what of it is written."""

    said: Mapping[str, Any]
    held: Mapping[str, Mapping[str, Any]]
    """Its objects by digest."""
    platforms: list[str]

    @property
    def name(self) -> str:
        return str(self.said["names"][0])


class Planning:
    """Makes a plan of named images, for some platforms; ``own`` is that of this machine."""

    def __init__(self, ask: Ask, platforms: Sequence[str], own: str) -> None:
        self._ask = ask
        self._platforms = platforms
        self._own = own
        self._plan = ExportPlan()

    def plan(self, names: Sequence[str]) -> ExportPlan:
        """Look at everything before anything is written. Raises ``StartError``."""
        for name in names:
            for said in self._ask({"do": "image", "name": name})["images"]:
                held = {one["digest"]: one for one in said["objects"]}
                try:
                    self._add(_Image(said, held, []))
                except ValueError as error:
                    raise StartError(f"{name}: {error}") from None
        return self._plan

    def _add(self, image: _Image) -> None:
        said = image.said
        root = Digest.parse(said["digest"])
        content = self._manifest(image, root)
        plain = [("", content)]
        if layout.is_index(content):
            plain = self._children(image, content)
        for _, manifest in plain:
            self._add_blobs(image, manifest)
        self._describe(image, root, len(content))
        self._describe_for_docker(image, plain)

    def _children(self, image: _Image, index: bytes) -> list[tuple[str, bytes]]:
        """The manifests of an index that are written, each with its platform."""
        entries = list(layout.listed(index))
        held = [one for one in entries if str(one.digest) in image.held]
        chosen = held if not self._platforms else []
        for wanted in self._platforms:
            found = [one for one in held if _is_for(one.platform, wanted)]
            if not found:
                there = ", ".join(one.platform for one in held if one.platform) or "nothing"
                raise StartError(
                    f"{image.name}: it is not cached for {wanted}, but for {there}; see entrepot"
                    " warm --platform"
                )
            chosen += found
        if not chosen:
            raise StartError(f"{image.name}: incomplete, none of its platforms is cached")
        image.platforms.extend(one.platform for one in chosen if one.platform)
        return [(one.platform, self._manifest(image, one.digest)) for one in chosen]

    def _manifest(self, image: _Image, digest: Digest) -> bytes:
        wanted = [{"digest": str(digest), "registry": image.said["origin"]}]
        (found,) = self._ask({"do": "locate", "objects": wanted})["objects"]
        if found is None or found["content"] is None:
            raise StartError(f"{image.name}: incomplete, {digest} is not cached")
        content = base64.b64decode(found["content"])
        if Digest.of(content, digest.algorithm) != digest:
            raise StartError(f"{image.name}: {digest} is damaged; see entrepot verify")
        self._plan.parts[digest] = Part(digest, len(content), content)
        return content

    def _add_blobs(self, image: _Image, manifest: bytes) -> None:
        wanted = [one for one in layout.listed(manifest) if one.digest not in self._plan.parts]
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            request = {"do": "locate", "objects": [{"digest": str(one.digest)} for one in some]}
            places = self._ask(request)["objects"]
            for one, place in zip(some, places, strict=True):
                said = image.held.get(str(one.digest))
                if said is None or place is None or place["file"] is None:
                    raise StartError(
                        f"{image.name}: incomplete, {one.digest} is not cached; see entrepot warm"
                    )
                file = Path(place["file"])
                self._plan.parts[one.digest] = Part(one.digest, said["size"], file=file)

    def _describe(self, image: _Image, root: Digest, size: int) -> None:
        """The entries of `index.json`, one for each name."""
        said = image.said
        for name in said["names"]:
            annotations = {layout.REF_NAME: name, layout.FULL_NAME: name}
            if not said["origin"].startswith("https:"):
                annotations[layout.ORIGIN] = said["origin"]
            entry = {
                "mediaType": said["media_type"],
                "digest": str(root),
                "size": size,
                "annotations": annotations,
            }
            if entry not in self._plan.index:
                self._plan.index.append(entry)
        self._plan.images.append(
            {
                "names": said["names"],
                "digest": str(root),
                "platforms": image.platforms or said["platforms"],
            }
        )

    def _describe_for_docker(self, image: _Image, plain: list[tuple[str, bytes]]) -> None:
        """The entry of `manifest.json`: an older docker gets the image of one platform.

        This machine's, if it is there.
        """
        own = self._platforms[0] if self._platforms else self._own
        _, chosen = min(plain, key=lambda one: (not _is_for(one[0], own), not one[0]))
        document = layout.document_of(chosen)
        config, layers = document.get("config"), document.get("layers")
        if not isinstance(config, dict) or not isinstance(layers, list):
            return
        registry, repository = image.said["registry"], image.said["repository"]
        self._plan.docker.append(
            {
                "Config": layout.path_of(Digest.parse(config["digest"])),
                "RepoTags": [f"{registry}/{repository}:{tag}" for tag in image.said["tags"]],
                "Layers": [layout.path_of(layout.descriptor(one).digest) for one in layers],
            }
        )


def _is_for(platform: str, wanted: str) -> bool:
    return platform == wanted or platform.startswith(f"{wanted}/")
