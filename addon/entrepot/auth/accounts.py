"""Which account, if any, the proxy asks as: decided by registry, repository and client.

The administrator's tables come first, then what was found elsewhere (docker's ``config.json``).
The longest prefix of the repository's name counts; ``clients`` of a registry's table counts for
all its accounts, wherever they come from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from entrepot.config.networks import is_in
from entrepot.config.registry_tables import Prefix, RegistryTable
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import Origin


@dataclass(frozen=True, slots=True)
class Found:
    """An account that stands in no table."""

    origin: Origin
    prefix: Prefix
    account: Account


class Accounts:
    """A table of accounts; it does not change, so any thread may ask."""

    def __init__(self, tables: Iterable[RegistryTable] = (), found: Iterable[Found] = ()) -> None:
        self._tables = {origin: table for table in tables for origin in table.origins}
        self._accounts: dict[Origin, dict[Prefix, Account]] = {
            origin: dict(table.accounts) for origin, table in self._tables.items()
        }
        for one in found:
            table = self._tables.get(one.origin)
            account = one.account
            if table is not None and table.realms:
                account = replace(account, realms=table.realms)
            self._accounts.setdefault(one.origin, {}).setdefault(one.prefix, account)

    def of(self, origin: Origin, repository_name: str, client_address: str) -> Account | None:
        """The account for a repository (``""``: for the registry as a whole), asked by a client.

        None where there is none, or this client does not get it.
        """
        accounts = self._accounts.get(origin)
        if not accounts:
            return None
        table = self._tables.get(origin)
        clients = table.clients if table is not None else None
        if clients is not None and not is_in(client_address, clients):
            return None
        components = tuple(repository_name.split("/")) if repository_name else ()
        for length in range(len(components), -1, -1):
            account = accounts.get(components[:length])
            if account is not None:
                return account
        return None
