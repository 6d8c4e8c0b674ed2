"""Digest verification of what is on disk: whether a file's bytes still hash to its digest.

Where bytes are verified, and when:

- a download's, as they come, before its last byte is given and it is stored:
  ``transfer.digest_verification``
- a push's, after the registry took it in and before it is stored: ``push.draft_files``
- a stored blob's, at a hit, where its file was touched or a day has passed:
  ``pull.blobs.rehash_before_serving``
- every stored blob's, from time to time, asked for or not (the scrub): ``maintenance.scrubber``
- every stored object's, or those of some images, when the administrator asks:
  ``maintenance.verification``
- a manifest's, before it is stored (``pull.manifests.commit``) and at every hit, since it is small:
  ``storage.diskcache_db.manifest_rows``

All but a download's and a manifest's are done here.
"""

import os
from collections.abc import Callable

from entrepot.bounded_map import BoundedMap
from entrepot.protocol.identifiers import Digest
from entrepot.storage.errors import storage_reason

MISMATCH = "its bytes do not hash to the digest"
_CHUNK = 1024 * 1024
_MOST_BEGUN = 8
"""Files that are hashed in steps at once."""


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


class DigestCheck:
    """A verification in steps: of a blob of 400 GB it takes minutes."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._hasher = digest.hasher()
        self.offset = 0
        """How many bytes were hashed."""
        self.step = 0
        """How many of them in the last step."""
        self.is_whole = False
        """Whether that was the last."""
        self.damage: str | None = None
        """What is wrong with the bytes; known then."""

    def advance(self, file: int, is_enough: Callable[[], bool]) -> None:
        """Hash some more of an open file, at least a MiB."""
        view, self.step = memoryview(bytearray(_CHUNK)), 0
        try:
            while count := os.preadv(file, [view], self.offset):
                self._hasher.update(view[:count])
                self.offset += count
                self.step += count
                if is_enough():
                    return
        except OSError as error:
            self.damage = storage_reason(error)
        else:
            same = self._hasher.hexdigest() == self._digest.hex
            self.damage = None if same else MISMATCH
        self.is_whole = True


class DigestChecks:
    """Verifications of files that go on from step to step."""

    def __init__(self) -> None:
        self._begun: BoundedMap[tuple[object, ...], DigestCheck] = BoundedMap(_MOST_BEGUN)

    def advance(self, file: int, digest: Digest, is_enough: Callable[[], bool]) -> DigestCheck:
        """Hash some more of a file; ``is_whole`` of what is returned says whether all of it is.

        What was written to between two steps begins anew.
        """
        of = os.fstat(file)
        key = (digest, of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns)
        check = self._begun.pop(key) or DigestCheck(digest)
        check.advance(file, is_enough)
        if not check.is_whole:
            self._begun.put(key, check)
        return check
