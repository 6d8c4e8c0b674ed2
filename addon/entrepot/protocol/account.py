"""As whom the proxy asks a registry by itself, for clients that bring no login of their own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias
from urllib.parse import quote

from entrepot.protocol.identifiers import Origin


class LoginKind(Enum):
    """What a login's secret is good for."""

    PASSWORD = auto()
    IDENTITY = auto()
    """An identity token: a token server gives tokens for it (OAuth2, grant ``refresh_token``)."""
    BEARER = auto()
    """A token for the registry itself."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its secret, which shows in no ``repr``, log or error."""

    username: str
    secret: str = field(repr=False)
    kind: LoginKind = LoginKind.PASSWORD


LoginSource: TypeAlias = Callable[[Login | None], Login | None]
"""Where a login comes from that may change: gives it, or None where there is none now.

Its argument is one that was refused, so that a kept one is not given again.

It may read a file or run a process, so it is called on a thread, by several at once.
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A login at a registry, or where to get one. ``username`` names it in the log."""

    username: str
    password: str = field(default="", repr=False)
    source: LoginSource | None = field(default=None, repr=False, compare=False)
    realms: frozenset[Origin] = frozenset()
    """Token servers to which the login may be shown, beside those of the registry's own domain."""
    plain: bool = False
    """Whether the administrator wants it shown over plain HTTP."""

    @property
    def label(self) -> str:
        """By what the store knows whom a registry gave something: a word without blanks."""
        return f"account={quote(self.username, safe='')}" if self.username else ANYONE

    def login(self, refused: Login | None = None) -> Login | None:
        """What to show now; None where there is nothing, or only what was ``refused``."""
        if self.source is not None:
            found = self.source(refused)
        else:
            found = Login(self.username, self.password)
        return None if found == refused else found


ANYONE = "anyone"
"""The label of who shows no login."""

NOBODY = Account("")
"""No login: what anybody may have, with a token for anybody where the registry wants one."""
