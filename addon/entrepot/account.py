"""As whom the proxy asks a registry by itself, for clients that bring no login of their own."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Account:
    """A login at a registry. Its password never shows: not in a ``repr``, a log or an error."""

    username: str
    password: str = field(repr=False)


NOBODY = Account("", "")
"""No login: what anybody may have, with a token for anybody where the registry wants one."""
