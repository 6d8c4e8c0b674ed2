"""Whether the configuration leads requests back to the proxy itself, before anything is made."""

from dataclasses import replace

from entrepot.app.start_error import StartError
from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.settings import Config
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.http_client.connect.own_addresses import is_itself


def without_loops(config: Config, events: Events) -> Config:
    """The configuration without an upstream proxy that is this one, as `HTTPS_PROXY` may name it.

    Raises :class:`StartError` where one was given on purpose, or a mirror is one of itself.
    """
    config = _past_itself(config, events)
    _check_mirrors(config)
    return config


def _past_itself(config: Config, events: Events) -> Config:
    """Leave out an upstream proxy of the environment that is this one: its clients are told so."""
    proxy = config.upstream_proxy
    if proxy is None or not is_itself(proxy, config.listen):
        return config
    if not proxy.by_environment:
        raise StartError(f"upstream_proxy {proxy.url} is this proxy itself")
    events.log(Event.PROXY_IGNORED, variable="HTTPS_PROXY", reason="it is this proxy itself")
    return replace(config, upstream_proxy=None)


def _check_mirrors(config: Config) -> None:
    """Raise :class:`StartError` where a mirror is one of the proxy itself, which would go round."""
    places: tuple[Listen | Mirror, ...] = (config.listen, *config.mirror)
    for mirror in config.mirror:
        registry = mirror.registry
        if registry is not None and any(is_itself(registry, place) for place in places):
            raise StartError(f"mirror {mirror}: its registry {registry} is this proxy itself")
