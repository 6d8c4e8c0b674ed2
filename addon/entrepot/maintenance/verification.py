"""Verification on demand: objects at rest are read and hashed when the administrator asks.

In steps of about a second, so that who asks sees how far it is, and may leave; of a large object a
step hashes a part, and the next one goes on there. Hashing has a thread
of the lowest priority, which the kernel's schedulers of disks respect too: pulls come first. The
scrubber does the same from time to time (``scrubber``).
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial as bind
from pathlib import Path
from typing import Protocol, TypeVar

from entrepot.maintenance.low_priority_thread import LOWEST_PRIORITY
from entrepot.protocol.identifiers import Digest
from entrepot.storage.digest_check import MISMATCH, DigestChecks
from entrepot.storage.diskcache_db.resting_objects import Resting, StoredObject
from entrepot.storage.store import Store

_STEP_SECONDS = 1.0
T = TypeVar("T")


class Turn(Protocol):
    """Runs a function on the thread that owns the store, and returns what it does."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Raise what the function raises."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """An object that was not what it was any more."""

    object: StoredObject
    reason: str
    moved_to: Path | None
    images: tuple[str, ...]
    """The images that it was part of."""


@dataclass(slots=True)
class Step:
    """What came of the first ``done`` objects that were to be verified; ``size`` is in bytes.

    None is done where all was spent on a part of a large one: ask again.
    """

    done: int = 0
    size: int = 0
    gone: int = 0
    """How many were not there any more."""
    damaged: list[Damaged] = field(default_factory=list)


class Verification:
    """Verifies objects of a store, for any thread."""

    def __init__(self, store: Store, turn: Turn) -> None:
        self._store = store
        self._turn = turn
        self._checks = DigestChecks()

    def step(self, objects: Sequence[StoredObject], seconds: float = _STEP_SECONDS) -> Step:
        """Verify in order for so long; at least a part of one. Raises ``StoreError``."""
        step, until = Step(), time.monotonic() + seconds
        with ThreadPoolExecutor(1, "verify", _become_lowest) as hashing:
            for one in objects:
                step.done += self._verify(one, step, hashing, until)
                if time.monotonic() >= until:
                    break
        return step

    def _verify(self, wanted: StoredObject, step: Step, hashing: Executor, until: float) -> bool:
        """Verify one object, or a part of it; whether it is done."""
        resting = self._store.resting
        found = self._turn(bind(resting.look, wanted))
        if found is None:
            step.gone += 1
            return True
        if isinstance(found, str):
            step.damaged.append(self._set_aside(wanted, None, found))
            return True
        try:
            if found.file is None:
                damage = _of_content(found, wanted.digest)
                step.size += len(found.content)
            else:
                file, is_enough = found.file, lambda: time.monotonic() >= until
                check = hashing.submit(
                    self._checks.advance, file, wanted.digest, is_enough
                ).result()
                step.size += check.step
                if not check.is_whole:
                    return False
                damage = check.damage
            if damage is not None:
                step.damaged.append(self._set_aside(wanted, found, damage))
            elif found.file is not None and wanted.origin is None:
                state = os.fstat(found.file)
                self._turn(bind(self._store.blobs.mark_verified, wanted.digest, state))
        finally:
            if found.file is not None:
                os.close(found.file)
        return True

    def _set_aside(self, wanted: StoredObject, found: Resting | None, reason: str) -> Damaged:
        images = self._store.inventory.images_with(wanted.key)
        moved_to = self._turn(bind(self._store.resting.set_aside, wanted, found, reason))
        return Damaged(wanted, reason, moved_to, images)


def _become_lowest() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


def _of_content(found: Resting, digest: Digest) -> str | None:
    same = Digest.of(found.content, digest.algorithm) == digest
    return None if same else MISMATCH
