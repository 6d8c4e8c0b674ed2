"""``/setup`` and what is below it: scripts and settings for clients, for the address they ask by.

All of it is the same for everybody but for that address, and tells no more than ``/ca.pem``.
"""

import hashlib
import json
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from entrepot.config.mirror_spec import Mirror
from entrepot.endpoints.setup import texts
from entrepot.endpoints.setup.cache_address import CacheAddress
from entrepot.endpoints.setup.command_line import setup_line
from entrepot.endpoints.setup.variants import VARIANTS
from entrepot.protocol.identifiers import is_ip_address
from entrepot.protocol.messages import Answer, error_answer

NO_PROXY = "localhost,127.0.0.0/8,::1"
"""What is never asked for by the proxy; as `LOCAL` in ``scripts/client/proxy_dropin.sh``."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n[^-]*-----END CERTIFICATE-----\n")
_SCRIPT = "text/x-shellscript; charset=utf-8"


@dataclass(frozen=True, slots=True)
class SetupPages:
    """The texts; ``announcement`` is what clients are given to trust, in PEM.

    The first certificate in it is the one that is signed by. While the authority is changed there
    is another.
    """

    announcement: bytes
    mirrors: Collection[Mirror] = ()

    @property
    def certificates(self) -> list[str]:
        """The certificates alone, in PEM, without the text around them."""
        return _CERTIFICATE.findall(self.announcement.decode())

    @property
    def fingerprint(self) -> str:
        """The first certificate's SHA-256, as ``entrepot ca show`` prints it."""
        der = ssl.PEM_cert_to_DER_cert(self.certificates[0])
        return hashlib.sha256(der).digest().hex(":").upper()

    def answer(self, name: str | None, host: str, proxy_port: int | None = None) -> Answer:
        """Answer GET of ``/setup/NAME``, or of ``/setup`` where the name is None.

        ``host`` is the request's ``Host``; ``proxy_port`` the proxy's port, where another was
        asked.
        """
        if name is not None and name not in VARIANTS:
            known = ", ".join(f"/setup/{known}" for known in VARIANTS)
            return error_answer(404, "NOT_FOUND", f"there is /setup, and {known}")
        try:
            address = CacheAddress.parse(host, proxy_port)
        except ValueError:
            return error_answer(400, "UNSUPPORTED", "Host must name this proxy: HOST:PORT")
        if name is None:
            return _text(_SCRIPT, texts.script(str(address)))
        variant, mirror = VARIANTS[name], self._mirror(address)
        if variant.needs_mirror and mirror is None:
            hint = "it goes by a mirror of all registries, which starts with --mirror :5000"
            return error_answer(404, "NOT_FOUND", f"there is no mirror for /setup/{name}: {hint}")
        return _text(variant.media_type, texts.fill(variant.file, self._values(address, mirror)))

    def _mirror(self, address: CacheAddress) -> CacheAddress | None:
        """A mirror of all registries, at an address that leads to it from where the client is."""
        for mirror in self.mirrors:
            if mirror.registry is None and mirror.port:
                if not mirror.host or _is_unspecified(mirror.host):
                    return address.at(mirror.port)
                if _is_loopback(mirror.host) == _is_loopback(address.host):
                    return CacheAddress(mirror.host, mirror.port)
        return None

    def _values(self, address: CacheAddress, mirror: CacheAddress | None) -> Mapping[str, str]:
        return {
            "proxy": address.url,
            "host": address.host,
            "mirror": str(mirror or ""),
            "no_proxy": NO_PROXY,
            "fingerprint": self.fingerprint,
            "certificate": json.dumps("".join(self.certificates)),
            "certificates": json.dumps(self.certificates),
            "script_digest": hashlib.sha256(texts.script(str(address)).encode()).hexdigest(),
            "line": setup_line(address, self.fingerprint),
        }


def _is_unspecified(host: str) -> bool:
    return is_ip_address(host) and ip_address(host).is_unspecified


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_ip_address(host) and ip_address(host).is_loopback)


def _text(media_type: str, text: str) -> Answer:
    content = text.encode()
    headers = (
        ("Content-Type", media_type),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Answer(200, headers, content)
