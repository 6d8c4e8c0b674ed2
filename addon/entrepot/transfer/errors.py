"""Why a download ended before its bytes were whole and verified, and what its readers are told."""

from entrepot.protocol.messages import BodyError


class DownloadError(Exception):
    """A download cannot go on; the text says why. Its file stays, for the next to continue."""


class MismatchError(DownloadError):
    """The bytes are not those that the digest names: nothing of them may be kept."""


class GaveWay(Exception):  # noqa: N818 what came is right, and stays; only the rest is not fetched here
    """A download was ended for the good of others; readers go on from upstream by themselves."""


class StorageLostError(BodyError):
    """The bytes are fine upstream; it is the cache that could not take them."""
