"""An inventory as of one moment: tables in memory (``tables``), asked by pages.

It is read by connections of its own, which change nothing and hold up nobody who writes, on
whichever thread wants to know. What a single image says of itself (its platforms) is read for those
of a page alone.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.image_names import registry_name
from entrepot.protocol.manifests import listed_digests
from entrepot.storage.diskcache_db import listed_descriptors
from entrepot.storage.diskcache_db.diskcache_disk import is_value_name
from entrepot.storage.inventory import platforms
from entrepot.storage.inventory.images import (
    CachedImage,
    HeldObjects,
    ImageObject,
    ImagePage,
    NextEvicted,
    RegistryTotals,
    SortBy,
    Totals,
)
from entrepot.storage.inventory.selection import Selection
from entrepot.storage.inventory.tables import BUILD

_ORDER = {
    SortBy.NAME: "registry, name, tags IS NULL, tags, digest",
    SortBy.SIZE: "size DESC, registry, name, tags, digest",
    SortBy.USED: "Summary.used DESC, registry, name, tags, digest",
}
_FROM = "FROM Image JOIN Manifest USING (number) WHERE name IS NOT NULL AND"
_PAGE = """
SELECT id, origin, registry, name, COALESCE(tags, ''), digest, COALESCE(media_type, ''), is_index,
  number, size, freed, Object.stored, Summary.used, complete, pinned
FROM Image JOIN Manifest USING (number, origin) JOIN Summary ON Summary.image = id
  JOIN Object USING (number)
WHERE name IS NOT NULL AND {condition} ORDER BY {order} LIMIT ? OFFSET ?
"""
_TOTAL = """
SELECT (SELECT count(*) {from_} {condition}), (SELECT COALESCE(sum(bytes), 0) FROM Object
  WHERE number IN (SELECT Part.number FROM Part WHERE image IN (SELECT id {from_} {condition})))
"""
_REGISTRIES = """
SELECT registry, images, size
FROM (SELECT registry, count(*) AS images FROM Image JOIN Manifest USING (number)
  WHERE name IS NOT NULL GROUP BY registry)
JOIN (SELECT registry, sum(bytes) AS size FROM (SELECT DISTINCT registry, Part.number AS part
    FROM Part JOIN Image ON id = image JOIN Manifest ON Manifest.number = Image.number
    WHERE name IS NOT NULL) JOIN Object ON Object.number = part GROUP BY registry)
  USING (registry)
ORDER BY size DESC, registry LIMIT ?
"""
_OTHER = """
SELECT COALESCE(sum(size + COALESCE(length(value), 0)), 0) FROM main.Cache
WHERE rowid NOT IN (SELECT number FROM Part)
"""
_OBJECTS = """
SELECT substr(key, 1, instr(key, ' ') - 1), key, bytes, used, images
FROM Part CROSS JOIN Object USING (number) CROSS JOIN main.Cache ON Cache.rowid = Object.number
WHERE image = ? ORDER BY 1 DESC, bytes DESC, key
"""
_NEXT = """
SELECT CAST(substr(key, 1, instr(key, ' ') - 1) AS TEXT), CAST(key AS TEXT),
  CAST(COALESCE(size, 0) AS INTEGER) + COALESCE(length(value), 0),
  CAST(COALESCE(access_time, 0) AS REAL),
  (SELECT registry || '/' || name || COALESCE(':' || substr(tags || ' ', 1,
     instr(tags || ' ', ' ') - 1), '@' || digest)
   FROM Part JOIN Image ON id = image JOIN Manifest ON Manifest.number = Image.number
   WHERE Part.number = Cache.rowid AND name IS NOT NULL ORDER BY pinned DESC LIMIT 1)
FROM main.Cache WHERE NOT EXISTS (SELECT 1 FROM main.Pinned WHERE Pinned.key = Cache.key)
ORDER BY access_time LIMIT ?
"""
_HELD = """
SELECT digest FROM Listed CROSS JOIN Manifest ON number = child WHERE parent = ?
"""
_HELD_OBJECTS = """
SELECT CAST(key AS TEXT), CAST(COALESCE(size, 0) AS INTEGER) + COALESCE(length(value), 0)
FROM main.Cache WHERE {condition} AND key > ? ORDER BY key LIMIT ?
"""
_HELD_TOTAL = """
SELECT count(*), COALESCE(sum(CAST(COALESCE(size, 0) AS INTEGER) + COALESCE(length(value), 0)), 0)
FROM main.Cache WHERE {condition}
"""
_ANY = "raw = 1"
_OF_IMAGES = """
raw = 1 AND rowid IN (SELECT number FROM Part WHERE image IN (SELECT value FROM json_each(?)))
"""
_IMAGES_WITH = """
SELECT registry || '/' || name || COALESCE(':' || substr(tags || ' ', 1,
  instr(tags || ' ', ' ') - 1), '@' || digest)
FROM main.Cache JOIN Part ON Part.number = Cache.rowid JOIN Image ON id = Part.image
  JOIN Manifest ON Manifest.number = Image.number
WHERE key = ? AND raw = 1 AND name IS NOT NULL ORDER BY 1 LIMIT 100
"""
_VALUE = "SELECT CAST(value AS BLOB), CAST(filename AS BLOB) FROM main.Cache WHERE rowid = ?"
_BLOB = (
    "SELECT CAST(value AS BLOB), CAST(filename AS BLOB) FROM main.Cache WHERE key = ? AND raw = 1"
)


class Snapshot:
    """What the store in ``folder`` holds. Raises what SQLite and the disk raise."""

    def __init__(self, folder: Path, now: float) -> None:
        """Read it; ``now`` is the time of day. Somebody must have the store open meanwhile."""
        self._values = folder / "blobs"
        self.database = sqlite3.connect(
            _uri(self._values), uri=True, isolation_level=None, check_same_thread=False
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self.database.close)
            self._build(folder, now)
            undo.pop_all()

    def _build(self, folder: Path, now: float) -> None:
        database = self.database
        database.text_factory = lambda text: text.decode(errors="replace")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("PRAGMA mmap_size = 0")
        database.execute("ATTACH ? AS knowledge", (_uri(folder / "index"),))
        database.create_function("registry_name", 1, _registry_name, deterministic=True)
        database.create_function("listed_in", 1, self._listed_in)
        database.execute("BEGIN")  # both databases as they are now
        for statement in BUILD:
            database.execute(statement, {"now": now} if ":now" in statement else {})
        database.execute("COMMIT")

    def close(self) -> None:
        """Give back what it takes."""
        self.database.close()

    def page(
        self, selection: Selection, sort: SortBy = SortBy.NAME, *, offset: int = 0, most: int = 100
    ) -> ImagePage:
        """Some of the images of a selection, and what all of it takes."""
        condition, order = f"({selection.condition})", _ORDER[sort]
        rows = self.database.execute(
            _PAGE.format(condition=condition, order=order), (*selection.values, most, offset)
        ).fetchall()
        ((count, size),) = self.database.execute(
            _TOTAL.format(from_=_FROM, condition=condition), selection.values * 2
        )
        ((other,),) = self.database.execute(_OTHER)
        found = (self._image(row) for row in rows)
        images = tuple(image for image in found if image is not None)
        return ImagePage(images, Totals(count, size, other))

    def objects(self, image: CachedImage) -> tuple[ImageObject, ...]:
        """What an image of this inventory is made of: manifests first, then the largest blobs."""
        rows = self.database.execute(_OBJECTS, (image.number,))
        return tuple(
            ImageObject(kind, key.rpartition(" ")[2], size, used, images)
            for kind, key, size, used, images in rows
        )

    def held(self, images: Sequence[CachedImage] | None, after: str, most: int) -> HeldObjects:
        """Some of the objects of these images, or of all that is stored, behind a key."""
        condition = _ANY if images is None else _OF_IMAGES
        numbers = () if images is None else (f"[{','.join(str(one.number) for one in images)}]",)
        rows = self.database.execute(
            _HELD_OBJECTS.format(condition=condition), (*numbers, after, most)
        ).fetchall()
        ((count, size),) = self.database.execute(_HELD_TOTAL.format(condition=condition), numbers)
        return HeldObjects(tuple((key, size) for key, size in rows), count, size)

    def images_with(self, key: str) -> tuple[str, ...]:
        """The images that an object is part of, by a name each; at most a hundred."""
        return tuple(name for (name,) in self.database.execute(_IMAGES_WITH, (key,)))

    def registries(self, most: int) -> tuple[RegistryTotals, ...]:
        """The registries of which there are images, the largest first."""
        rows = self.database.execute(_REGISTRIES, (most,))
        return tuple(RegistryTotals(str(name), count, size) for name, count, size in rows)

    def next_evicted(self, most: int) -> tuple[NextEvicted, ...]:
        """What gives way first when room is needed."""
        rows = self.database.execute(_NEXT, (most,))
        return tuple(
            NextEvicted(kind, key.rpartition(" ")[2], size, used, image or "")
            for kind, key, size, used, image in rows
        )

    def _image(self, row: Sequence[object]) -> CachedImage | None:
        number, origin, registry, name, tags, digest, media_type, is_index, manifest, *rest = row
        size, freed, stored, used, complete, pinned = rest
        try:
            repository = Repository(Origin.parse(str(origin)), str(name))
            its_tags = tuple(Tag(tag).name for tag in str(tags).split())
            its_digest = Digest.parse(str(digest))
        except ValueError:
            return None  # a damaged row
        return CachedImage(
            _int(number),
            repository.origin,
            str(registry),
            repository.name,
            its_tags,
            its_digest,
            "".join(filter(str.isprintable, str(media_type)))[:200],
            self._platforms(_int(manifest), is_index=bool(is_index)),
            _int(size),
            _int(freed),
            _float(stored),
            _float(used),
            bool(complete),
            bool(pinned),
        )

    def _platforms(self, manifest: int, *, is_index: bool) -> tuple[str, ...]:
        content = self._content(_VALUE, manifest)
        if is_index:
            held = {digest for (digest,) in self.database.execute(_HELD, (manifest,))}
            return platforms.of_index(content, held)
        digest = platforms.config_digest(content)
        return platforms.of_config(self._content(_BLOB, f"blob {digest}")) if digest else ()

    def _listed_in(self, manifest: int) -> str:
        """What a manifest lists that an earlier version stored, which did not write that down."""
        return listed_descriptors.encode(listed_digests(self._content(_VALUE, manifest)))

    def _content(self, sql: str, which: int | str) -> bytes:
        """The bytes of a row, from wherever they are; empty where they are gone, or too many."""
        value, name = self.database.execute(sql, (which,)).fetchone() or (None, None)
        if name is None:
            return bytes(value or b"")
        path: str = name.decode(errors="replace")
        with contextlib.suppress(OSError):
            if is_value_name(path) and (self._values / path).stat().st_size <= platforms.MOST_BYTES:
                return (self._values / path).read_bytes()
        return b""


def _uri(folder: Path) -> str:
    return f"file:{quote(str(folder / 'cache.db'))}?mode=ro"


def _registry_name(origin: str) -> str:
    try:
        return registry_name(Origin.parse(origin))
    except ValueError:
        return origin


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
