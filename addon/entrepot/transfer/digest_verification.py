"""Whether bytes are those that a digest names: of a whole download, and of a body on its way.

What is stored is verified again: ``storage.digest_check`` lists where and when.
"""

from entrepot.protocol.identifiers import Digest, Hasher
from entrepot.protocol.messages import CHUNK, Body, BodyError, Stretch


def fits(hasher: Hasher, digest: Digest) -> bool:
    """Whether what was hashed is what ``digest`` names."""
    return hasher.hexdigest() == digest.hex


class VerifiedBody:
    """A body whose last byte is held back until the hash of all of it fits.

    So a client can never take a corrupt one for whole: where the hash does not fit, the transfer
    ends one byte short.
    """

    def __init__(self, body: Body, digest: Digest, hasher: Hasher | None = None) -> None:
        """``hasher`` has hashed what comes before ``body``, where that is only the rest."""
        self._body = body
        self._digest = digest
        self._hasher = digest.hasher() if hasher is None else hasher
        self._held = b""
        self._done = False
        self.size = body.size

    async def read(self, most: int = CHUNK) -> bytes:
        """The next bytes; see ``messages.Body``."""
        while not self._done:
            data = await self._body.read(most)
            self._hasher.update(data)
            if not data:
                self._done = True
                if not fits(self._hasher, self._digest):
                    raise BodyError(f"upstream sent other bytes than {self._digest}")
                return self._held
            data, self._held = (self._held + data)[:-1], data[-1:]
            if data:
                return data
        return b""

    def stretch(self, most: int) -> Stretch | None:  # noqa: ARG002 - see ``messages.Body``
        """None: the kernel cannot hash what it sends."""
        return None

    def skip(self, count: int) -> None:
        """See ``messages.Body``."""
        raise AssertionError(count)  # of no stretch

    def close(self) -> None:
        """End the transfer; twice is harmless."""
        self._body.close()
