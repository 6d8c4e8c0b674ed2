"""Which login of an account is shown to which server, and when it is not.

A login is shown to the registry and to token servers of its own registrable domain alone (see
``token_servers``), and to those that the administrator names: a registry names its token server
itself, and could name anybody's. One that was refused is read again from where it comes from; if
that gives no other, it is not shown for a minute, since who shows a wrong password too often is
locked out.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from entrepot.auth.token_servers import are_related
from entrepot.bounded_map import BoundedMap
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.protocol.account import NOBODY, Account, Login
from entrepot.protocol.identifiers import Origin

_REST_SECONDS = 60.0
"""How long a login is not shown again where it was refused."""
_MOST_REFUSED = 10_000
_MOST_SAID = 1_000


@dataclass(frozen=True, slots=True)
class LoginTarget:
    """Where an account shows something: a server, and a repository there ("" for any)."""

    account: Account
    server: Origin
    repository: str


class AccountLogins:
    """The logins of all accounts, with what servers refused; safe to use from many threads."""

    def __init__(self, events: Events, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: BoundedMap[LoginTarget, tuple[Login, float]] = BoundedMap(_MOST_REFUSED)
        self._withheld: set[tuple[Origin, str]] = set()

    def may_see(self, account: Account, registry: Origin, server: Origin) -> bool:
        """Whether an account's login may be shown to a server that ``registry`` named."""
        if account is NOBODY:
            return False
        if registry.scheme != "https" and not account.plain:
            reason = "it is reached by plain http"
        elif are_related(registry, server) or server in account.realms:
            return True
        else:
            reason = f"its token server is {server}"
        self.withheld(registry, reason)
        return False

    def withheld(self, registry: Origin, reason: str) -> None:
        """Say once why a registry's token server gets nothing."""
        said = (registry, reason)
        with self._lock:
            news = said not in self._withheld and len(self._withheld) < _MOST_SAID
            if news:
                self._withheld.add(said)
        if news:
            self._events.log(Event.LOGIN_WITHHELD, registry=registry, reason=reason)

    def login(self, target: LoginTarget) -> Login | None:
        """What to show at a server; None where there is nothing that was not just refused."""
        account = target.account
        login = account.login()
        for where in (target, replace(target, repository="")):
            with self._lock:
                refused, until = self._refused.get(where, (None, 0.0))
            if login is None or login != refused:
                continue
            login = account.login(refused)
            if login is None and self._clock() >= until:
                login = refused
        return login

    def refuse(self, target: LoginTarget, login: Login) -> None:
        """Remember that a server refused a login, there or (no repository) altogether."""
        with self._lock:
            self._refused.put(target, (login, self._clock() + _REST_SECONDS))
        self._events.log(Event.LOGIN_REFUSED, host=target.server, account=target.account.username)
