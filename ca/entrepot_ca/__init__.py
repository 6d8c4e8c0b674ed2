"""The local certificate authority: create it, load it, say what it may sign for.

It stands alone: nothing here imports the proxy, so that the authority can be reviewed by itself.
"""

from entrepot_ca.authority import (
    FILE_NAME,
    Authority,
    AuthorityError,
    create,
    describe,
    ensure,
    load,
)
from entrepot_ca.constraints import Constraints

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
