"""The local certificate authority: create it, load it, limit the names it may sign for.

It stands alone: nothing here imports the proxy, so that the authority can be reviewed by itself.
"""

from entrepot_ca.authority import Authority, create, describe, ensure, load
from entrepot_ca.constraints import Constraints
from entrepot_ca.pem_file import FILE_NAME, AuthorityError

__all__ = [
    "FILE_NAME",
    "Authority",
    "AuthorityError",
    "Constraints",
    "create",
    "describe",
    "ensure",
    "load",
]
