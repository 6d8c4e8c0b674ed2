"""Removing images: what goes with them, and what stays since other images have it too.

Of an image go the objects that no other image is made of; the repository forgets all that only this
image had of it, and the tags. A tag that is one of several is forgotten alone, as docker does it.
Blobs go first and the manifest that was named last: so a removal that a kill breaks off can be
asked for again, and what is left is an incomplete image, which the next pull completes.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import CachedImage

_CHOSEN = "CREATE TEMP TABLE IF NOT EXISTS Chosen (image INTEGER PRIMARY KEY)"
_OBJECTS = """
SELECT key, bytes, EXISTS (SELECT 1 FROM Image JOIN Chosen ON id = image
    WHERE Image.number = Object.number) AS is_root
FROM Object CROSS JOIN main.Cache ON Cache.rowid = Object.number
WHERE Object.number IN (SELECT number FROM Part JOIN Chosen USING (image))
  AND NOT EXISTS (SELECT 1 FROM Part AS other WHERE other.number = Object.number
    AND other.image NOT IN (SELECT image FROM Chosen))
ORDER BY is_root, key
"""
_LINKS = """
SELECT DISTINCT origin, name, key
FROM Chosen CROSS JOIN Image ON id = Chosen.image CROSS JOIN Part USING (image)
  CROSS JOIN main.Cache ON Cache.rowid = Part.number
WHERE NOT EXISTS (
  SELECT 1 FROM Part AS again JOIN Image AS other ON other.id = again.image
  WHERE again.number = Part.number AND other.origin = Image.origin AND other.name = Image.name
    AND other.id NOT IN (SELECT image FROM Chosen))
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be removed. ``keys`` are of rows in ``blobs``, in order; ``size`` their bytes."""

    images: tuple[CachedImage, ...]
    """Those that go whole."""
    tags: tuple[tuple[Repository, Tag], ...]
    """Those that are forgotten."""
    links: tuple[tuple[Repository, Digest], ...]
    keys: tuple[str, ...]
    size: int


class Choice:
    """Images that are to go, named one after another."""

    def __init__(self) -> None:
        self._whole: dict[int, CachedImage] = {}
        self._named: dict[int, tuple[CachedImage, set[str]]] = {}

    def add(self, name: ImageName, images: Iterable[CachedImage]) -> None:
        """Take what a name stands for: ``images``."""
        for image in images:
            if isinstance(name.reference, Tag):
                self._named.setdefault(image.number, (image, set()))[1].add(name.reference.name)
            else:
                self._whole[image.number] = image

    @property
    def images(self) -> tuple[CachedImage, ...]:
        """Those that go whole: by digest or repository, or with all of their tags."""
        with_all = {
            number: image for number, (image, tags) in self._named.items() if tags == {*image.tags}
        }
        return tuple((self._whole | with_all).values())

    @property
    def tags(self) -> Iterator[tuple[Repository, Tag]]:
        """Those that are forgotten."""
        whole = self.images
        numbers = {image.number for image in whole}
        rest = [
            (image, tags) for number, (image, tags) in self._named.items() if number not in numbers
        ]
        for image, tags in (*((image, set(image.tags)) for image in whole), *rest):
            for tag in sorted(tags):
                with contextlib.suppress(ValueError):  # a damaged row
                    yield Repository(image.origin, image.repository), Tag(tag)


def plan(database: sqlite3.Connection, choice: Choice) -> Removal:
    """What a choice of this inventory's images takes with it."""
    images = choice.images
    database.execute(_CHOSEN)
    database.execute("DELETE FROM Chosen")
    database.executemany("INSERT INTO Chosen VALUES (?)", [(image.number,) for image in images])
    objects = database.execute(_OBJECTS).fetchall()
    links = database.execute(_LINKS).fetchall()
    return Removal(
        images,
        tuple(choice.tags),
        tuple(_links(links)),
        tuple(key for key, _, _ in objects),
        sum(size for _, size, _ in objects),
    )


def _links(rows: Iterable[Sequence[str]]) -> Iterator[tuple[Repository, Digest]]:
    for origin, name, key in rows:
        with contextlib.suppress(ValueError):  # a damaged row
            repository = Repository(Origin.parse(origin), name)
            yield repository, Digest.parse(key.rpartition(" ")[2])
