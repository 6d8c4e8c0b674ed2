"""The line that sets a client up, to be copied from the page or from the docs."""

from entrepot.endpoints.setup.cache_address import CacheAddress

_FETCH = {"curl": "curl -fsS", "wget": "wget -qO-"}


def setup_line(address: CacheAddress, fingerprint: str, *options: str, fetch: str = "curl") -> str:
    """Give the line for a shell; ``fetch`` is ``curl`` or ``wget``.

    ``fingerprint`` is the certificate's SHA-256, ``options`` are further words for the script.
    """
    words = " ".join(("--fingerprint", fingerprint, *options))
    return f"{_FETCH[fetch]} {address.url}/setup | sudo sh -s -- {words}"
