"""The local certificate authority: create it, load it, replace it, limit what it may sign for.

It stands alone: nothing here imports the proxy, so that the authority can be reviewed by itself.
"""

from entrepot_ca.announcement import announcement, pkcs7
from entrepot_ca.authority import WARN_DAYS, Authority, create, describe, ensure, load
from entrepot_ca.constraints import Constraints
from entrepot_ca.pem_file import FILE_NAME, AuthorityError
from entrepot_ca.rotation import Rotation, abort, advance, announce, move

__all__ = [
    "FILE_NAME",
    "WARN_DAYS",
    "Authority",
    "AuthorityError",
    "Constraints",
    "Rotation",
    "abort",
    "advance",
    "announce",
    "announcement",
    "create",
    "describe",
    "ensure",
    "load",
    "move",
    "pkcs7",
]
