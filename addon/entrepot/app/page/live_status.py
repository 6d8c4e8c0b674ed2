"""The status of a running proxy, for `entrepot status` and `entrepot top`: one document.

`docs/status.schema.json` says what each member means.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from entrepot.admin.data.sources import Live
from entrepot.app.authority_in_use import AuthorityInUse
from entrepot.app.foundation import Foundation
from entrepot.app.page.look import Parts, look
from entrepot.control.documents import Document, time_text
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.image_names import registry_name
from entrepot.pull.running import RunningFetch
from entrepot.upstream.host_outcomes import UpstreamState
from entrepot.version import VERSION

_PATIENCE_SECONDS = 10.0


def status_request(parts: Parts) -> Callable[[Mapping[str, object]], Document]:
    """What answers the request `status`, on any thread; to be called in the engine's loop."""
    loop, started = asyncio.get_running_loop(), parts.context.wall()

    def answer(request: Mapping[str, object]) -> Document:
        del request
        asked = asyncio.run_coroutine_threadsafe(_look(parts, started), loop)
        return asked.result(_PATIENCE_SECONDS)

    return answer


async def _look(parts: Parts, started: float) -> Document:
    config, live = parts.foundation.config, await look(parts)
    state = "degraded" if live.problems else "ok"
    proxy = config.upstream_proxy
    return {
        "running": True,
        "version": VERSION,
        "pid": os.getpid(),
        "started": time_text(started),
        "status": state if parts.readiness.takes_pulls else "failing",
        "reasons": [asdict(one) for one in live.problems],
        "listening": list(_listening(parts.foundation)),
        "data": str(config.data),
        "usage": None if live.usage is None else asdict(live.usage),
        "authority": _authority(parts.authority, live),
        "offline": config.offline,
        "upstream_proxy": None if proxy is None else proxy.url,
        "downloads": [_download(one) for one in live.fetches],
        "upstreams": {origin: _upstream(one) for origin, one in live.upstreams.items()},
        "untrusting_clients": live.untrusting,
        "counters": dict(sorted(live.counters.items())),
    }


def _listening(foundation: Foundation) -> Iterator[Document]:
    config = foundation.config
    yield {"as": "proxy", "address": str(config.listen), "registry": None}
    if config.transparent is not None:
        yield {"as": "transparent", "address": str(config.transparent), "registry": None}
    if config.admin is not None:
        yield {"as": "page", "address": str(config.admin), "registry": None}
    for mirror in config.mirror:
        registry = None if mirror.registry is None else registry_name(mirror.registry)
        yield {"as": "mirror", "address": str(mirror), "registry": registry}


def _authority(in_use: AuthorityInUse, live: Live) -> Document:
    authority = in_use.standing.authority
    return {
        "file": str(authority.path),
        "permitted": list(authority.permitted),
        **live.authority,
    }


def _download(one: RunningFetch) -> Document:
    registry = registry_name(Origin.parse(one.registry))
    return {
        "registry": registry,
        "repositories": list(one.repositories),
        "digest": one.digest,
        "done": one.written,
        "size": one.size,
        "rate": int(one.rate),
        "seconds": round(one.age, 1),
        "left": None if one.left is None else round(one.left, 1),
        "waiting": one.waiting,
        "clients": list(one.clients),
    }


def _upstream(one: UpstreamState) -> Document:
    """As `/healthz` has it, with times as all documents of the control socket have them."""
    told: dict[str, Any] = asdict(one)
    for name in ("last_asked", "last_success"):
        told[name] = None if told[name] is None else time_text(told[name])
    for name in ("last_failure", "ratelimit"):
        if told[name] is not None:
            told[name]["at"] = time_text(told[name]["at"])
    return told
