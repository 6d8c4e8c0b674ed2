"""Which clients are served at all."""

from entrepot.config.networks import Network, is_in
from entrepot.events.log import Events
from entrepot.events.table import Event

_MOST_NAMED = 1000


class ClientAllowlist:
    """Refuses clients from elsewhere than ``networks``, where there are any."""

    def __init__(self, networks: tuple[Network, ...], events: Events) -> None:
        self._networks = networks
        self._events = events
        self._named: set[str] = set()

    def refusal(self, client: str) -> str | None:
        """What a client is told that is not served, None where it is; logged once of each."""
        if not self._networks or is_in(client, self._networks):
            return None
        self.refused(client, "not in allow_client")
        return f"the proxy does not serve {client}"

    def refused(self, client: str, reason: str) -> None:
        """Say that a client is not served; once of each."""
        if client in self._named or len(self._named) >= _MOST_NAMED:
            self._events.count(Event.CLIENT_REFUSED)
        else:
            self._named.add(client)
            self._events.log(Event.CLIENT_REFUSED, client=client, reason=reason)
