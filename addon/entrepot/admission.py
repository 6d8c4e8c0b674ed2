"""Which clients are served at all."""

from entrepot.events import Events
from entrepot.message import Answer, error_answer
from entrepot.networks import Network, is_in

_MOST_NAMED = 1000


class Admission:
    """Refuses clients from elsewhere than ``networks``, where there are any."""

    def __init__(self, networks: tuple[Network, ...], events: Events) -> None:
        self._networks = networks
        self._events = events
        self._named: set[str] = set()

    def refuse(self, client: str) -> Answer | None:
        """What a client's request is refused with, None where it is served; said once of each."""
        if not self._networks or is_in(client, self._networks):
            return None
        if client in self._named or len(self._named) >= _MOST_NAMED:
            self._events.count("client_refused")
        else:
            self._named.add(client)
            self._events.warn("client_refused", client=client, reason="not in allow_client")
        return error_answer(403, "DENIED", f"the proxy does not serve {client}")
