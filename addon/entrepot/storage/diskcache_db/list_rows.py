"""The rows of the database ``blobs`` that are lists: exact bytes, and the fields that go with them.

They take part in eviction as blobs and manifests do, and are bounded besides: whoever asks for a
million pages must not push out what others pull.
"""

import json
from dataclasses import replace

import diskcache

from entrepot.storage.diskcache_db import keys
from entrepot.storage.diskcache_db.keys import KeyRange
from entrepot.storage.diskcache_db.rows import (
    RowDamagedError,
    reading_row,
    remove_damaged,
    remove_row,
    text_of,
)
from entrepot.storage.lists.kept_list import KeptList, ListHead

MOST_LISTS = 2000
_SHARE = 32
_MOST_BYTES = 64 * 1024**2
_TAG = "SELECT CAST(tag AS BLOB) FROM Cache WHERE key = ? AND raw = 1"
_CONFIRM = "UPDATE Cache SET tag = ?, access_time = ? WHERE key = ? AND raw = 1"
_KEYS = (
    "SELECT rowid, CAST(key AS BLOB), CAST(filename AS BLOB) FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1 LIMIT ?"
)
_SUM = (
    "SELECT COUNT(*), COALESCE(SUM(size + length(COALESCE(value, ''))), 0) FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1"
)
_LEAST_USED = (
    "SELECT rowid, CAST(filename AS BLOB), size + length(COALESCE(value, '')) FROM Cache"
    " WHERE key >= ? AND key < ? AND raw = 1 ORDER BY access_time LIMIT 100"
)


class ListRows:
    """Lists by key. Methods raise what diskcache, SQLite and the disk raise."""

    def __init__(self, cache: diskcache.Cache, limit: int, most: int = MOST_LISTS) -> None:
        """``limit`` is the store's, in bytes; ``most``: how many are kept."""
        self._cache = cache
        self._most = most
        self._most_bytes = min(_MOST_BYTES, limit // _SHARE)

    def head(self, key: str) -> ListHead | None:
        """What a row says of its list; looking does not count as use."""
        row = self._cache._sql(_TAG, (key,)).fetchone()  # noqa: SLF001 diskcache has no such call
        return None if row is None else _head(text_of(row[0]))

    def get(self, key: str) -> KeptList | None:
        """A list whose bytes are still those that came; a damaged row is removed."""
        try:
            with reading_row():
                content, tag = self._cache.get(key, tag=True)
            if content is None:
                return None
            head = _head(tag) if isinstance(tag, str) else None
            if head is not None and isinstance(content, bytes):
                found = KeptList(head, content)
                if found.is_sound:
                    return found
        except RowDamagedError:
            pass
        remove_damaged(self._cache, key)
        return None

    def fits(self, size: int) -> bool:
        """Whether so many bytes may be kept as a list at all."""
        return size <= self._most_bytes

    def put(self, key: str, found: KeptList) -> None:
        """Set a row; those that were used least recently go where there are too many."""
        self._cache.set(key, found.content, tag=_text(found.head))
        self._trim()

    def confirm(self, key: str, head: ListHead) -> None:
        """Set what is known of a list whose bytes are as they were; counts as use."""
        self._cache._sql(_CONFIRM, (_text(head), head.checked, key))  # noqa: SLF001 the same

    def keys(self, part: KeyRange) -> list[str]:
        """The keys of a range."""
        return [text_of(key) for _, key, _ in self._rows(part)]

    def delete(self, key: str) -> None:
        """Remove a row, if it is there."""
        if self.head(key) is not None:
            remove_damaged(self._cache, key)

    def delete_all(self, part: KeyRange) -> None:
        """Remove the rows of a range."""
        for number, _, filename in self._rows(part):
            remove_row(self._cache, number, None if filename is None else text_of(filename))

    def _rows(self, part: KeyRange) -> list[tuple[int, object, object]]:
        sql = self._cache._sql  # noqa: SLF001 the same
        return list(sql(_KEYS, (part.start, part.end, MOST_LISTS + 100)))

    def _trim(self) -> None:
        sql, lists = self._cache._sql, keys.LISTS  # noqa: SLF001 the same
        ((count, size),) = sql(_SUM, (lists.start, lists.end)).fetchall()
        if count <= self._most and size <= self._most_bytes:
            return
        for number, filename, taken in sql(_LEAST_USED, (lists.start, lists.end)).fetchall():
            if count <= self._most and size <= self._most_bytes:
                break
            remove_row(self._cache, number, None if filename is None else text_of(filename))
            count, size = count - 1, size - taken


def _text(head: ListHead) -> str:
    document = {
        "status": head.status,
        "headers": head.headers,
        "checked": head.checked,
        "hash": head.hash,
    }
    return json.dumps(document)


def _head(text: str) -> ListHead | None:
    """Read what :func:`_text` wrote; None where it is damaged."""
    try:
        found = json.loads(text)
        headers = tuple((str(name), str(value)) for name, value in found["headers"])
        head = ListHead(int(found["status"]), headers, float(found["checked"]))
        return replace(head, hash=str(found["hash"]))
    except (ValueError, TypeError, KeyError):
        return None
