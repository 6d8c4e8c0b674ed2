"""The hash of a file that is filled in any order: inline while bytes come in order, else behind.

Whoever writes the next byte to be hashed has it in memory, and hashes it from there. What was
written ahead, or by an earlier process, is read back by a thread of its own, so that nothing that
comes waits for it: only the end of the download does.
"""

import threading

from entrepot.protocol.identifiers import Digest, Hasher
from entrepot.transfer.growing_file import GrowingFile

_READ = 1024 * 1024


class RunningHash:
    """Follows the bytes of a growing file from its beginning."""

    def __init__(self, digest: Digest, file: GrowingFile) -> None:
        self._file = file
        self._name = f"hash {digest.hex[:12]}"
        self.hasher: Hasher = digest.hasher()
        self._hashed = 0
        self._lock = threading.Lock()
        self._is_behind = threading.Event()
        self._is_over = False
        self._thread: threading.Thread | None = None

    def feed(self, offset: int, data: memoryview) -> bool:
        """Hash bytes that are next, if nobody hashes just now; whether they were."""
        if offset != self._hashed or not self._lock.acquire(blocking=False):
            return False
        try:
            if offset != self._hashed:
                return False
            self.hasher.update(data)
            self._hashed += len(data)
        finally:
            self._lock.release()
        return True

    def follow(self) -> None:
        """Have what was not fed hashed from the file, on a thread."""
        self._is_behind.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._follow, name=self._name, daemon=True
                    )
                    self._thread.start()

    def finish(self) -> Hasher:
        """Hash all that is there from the beginning. Raises OSError."""
        self._catch_up()
        return self.hasher

    def close(self) -> None:
        """End the thread, soon, and wait until it reads no more."""
        self._is_over = True
        self._is_behind.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._is_over:
            self._is_behind.wait()
            self._is_behind.clear()
            try:
                self._catch_up()
            except OSError:  # whoever finishes hears of it
                return

    def _catch_up(self) -> None:
        while not self._is_over:
            with self._lock:
                count = min(_READ, self._file.end_from(self._hashed) - self._hashed)
                if count <= 0:
                    return
                data = self._file.read_back(self._hashed, count)
                if not data:
                    raise OSError(5, "the partial file shrank")
                self.hasher.update(data)
                self._hashed += len(data)
