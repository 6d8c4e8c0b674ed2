"""What the page is made from: the parts of a running proxy that it may ask."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.config.settings import Config
from entrepot.control.administration import Administration
from entrepot.endpoints.health.readiness import Problem
from entrepot.events.log import Events
from entrepot.pull.running import RunningFetch
from entrepot.storage.capacity.size_limit import Usage
from entrepot.upstream.host_outcomes import UpstreamState


@dataclass(frozen=True, slots=True)
class Live:
    """How the proxy is at one moment."""

    at: float
    """By the time of day."""
    fetches: Sequence[RunningFetch]
    upstreams: Mapping[str, UpstreamState]
    untrusting: Sequence[Mapping[str, object]]
    problems: Sequence[Problem]
    """What is in the way of pulls, and upstreams that do not answer as they should."""
    usage: Usage | None
    """None where the store does not answer."""
    counters: Mapping[str, int]
    authority: Mapping[str, Any]
    """How it stands with the authority, as ``/healthz`` has it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts; ``look`` is to be called on ``loop``, all else on any thread."""

    loop: asyncio.AbstractEventLoop
    look: Callable[[], Coroutine[Any, Any, Live]]
    administration: Administration
    config: Config
    proxy_port: Callable[[], int | None]
    """Where clients of the forward proxy come, once it listens."""
    events: Events
    clock: Callable[[], float]
    wall: Callable[[], float]
    started: float
    """By the time of day."""
    version: str
