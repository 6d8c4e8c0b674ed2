"""Hashing what is stored, to see whether it is still what it was."""

import os
from collections.abc import Callable

from entrepot.protocol.identifiers import Digest
from entrepot.storage.errors import storage_reason

MISMATCH = "its bytes do not hash to the digest"
_CHUNK = 1024 * 1024


def damage_of(
    file: int, digest: Digest, after_each: Callable[[int], None] = lambda _: None
) -> str | None:
    """What is wrong with the bytes of an open file; None where they hash to ``digest``.

    ``after_each`` is called with the length of each stretch that was read, at most 1 MiB.
    """
    hasher, view, offset = digest.hasher(), memoryview(bytearray(_CHUNK)), 0
    try:
        while count := os.preadv(file, [view], offset):
            hasher.update(view[:count])
            offset += count
            after_each(count)
    except OSError as error:
        return storage_reason(error)
    return None if hasher.hexdigest() == digest.hex else MISMATCH
