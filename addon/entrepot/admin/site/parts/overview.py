"""The overview: big numbers, what is fetched now, what needs attention, and the top lists."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from entrepot.admin.data.figures import Figures, add
from entrepot.admin.data.periods import PERIODS, Window, period_of
from entrepot.admin.data.reader import Reader
from entrepot.admin.site.sparkline import sparkline
from entrepot.observe.reading import RecordsUnreadableError
from entrepot.observe.sums import Sum
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.image_names import registry_name

Context = dict[str, Any]
_MOST_RANKED = 6
_MOST_EVICTED = 6
_LOOKED_THROUGH = 100
_MOST_UPSTREAMS = 6


async def numbers(reader: Reader, query: Mapping[str, str]) -> Context:
    """The four big numbers."""
    live, period = await reader.live(), period_of(query.get("period"))
    found = await _figures(reader, query)
    total = found.total if found else Sum()
    images = await reader.ask_soon({"do": "images", "limit": 0})
    return {
        "period": period,
        "periods": PERIODS,
        "recorded": found is not None,
        "total": total,
        "ever": await _ever(reader),
        "spark": sparkline([point.saved for point in found.points]) if found else "",
        "usage": live.usage,
        "images": images["totals"] if images and images.get("ok") else None,
    }


async def _figures(reader: Reader, query: Mapping[str, str]) -> Figures | None:
    now, period = reader.sources.wall(), period_of(query.get("period"))
    try:
        return await reader.figures(Window.make(now - period.seconds, now, now))
    except RecordsUnreadableError:
        return None


async def _ever(reader: Reader) -> Sum:
    """What was ever counted."""
    ever = Sum()
    try:
        totals = await reader.recorded("ever", reader.records.totals)
    except RecordsUnreadableError:
        return ever
    for one in totals.values():
        add(ever, one)
    return ever


async def downloads(reader: Reader, query: Mapping[str, str]) -> Context:
    """What is being fetched, by image."""
    del query
    live = await reader.live()
    images: dict[str, list[Any]] = {}
    for fetch in live.fetches:
        name = f"{registry_of(fetch.registry)}/{next(iter(fetch.repositories), '…')}"
        images.setdefault(name, []).append(fetch)
    return {"fetching": images, "rate": sum(fetch.rate for fetch in live.fetches)}


async def attention(reader: Reader, query: Mapping[str, str]) -> Context:
    """What an administrator should look at."""
    del query
    live = await reader.live()
    usage = live.usage
    tight = usage is not None and usage.free < usage.reserve
    return {
        "problems": live.problems,
        "untrusting": live.untrusting,
        "tight": tight,
        "rotation": live.authority["rotation"],
    }


async def upstreams(reader: Reader, query: Mapping[str, str]) -> Context:
    """Registries and other servers; those in trouble first."""
    del query
    live = await reader.live()
    return {"upstreams": live.upstreams}


async def upstreams_brief(reader: Reader, query: Mapping[str, str]) -> Context:
    """The same, the first of them."""
    given = await upstreams(reader, query)
    known = given["upstreams"]
    shown = dict(list(known.items())[:_MOST_UPSTREAMS])
    return {"upstreams": shown, "more": len(known) - len(shown)}


async def tops(reader: Reader, query: Mapping[str, str]) -> Context:
    """The images that were pulled most, and the clients that pulled most."""
    period = period_of(query.get("period"))
    since = reader.sources.wall() - period.seconds
    records = reader.records
    try:
        images = await reader.recorded(
            ("images", period.key), lambda: records.top_images(since, _MOST_RANKED)
        )
        clients = await reader.recorded(
            ("clients", period.key), lambda: records.clients(since, _MOST_RANKED)
        )
        failures = await reader.recorded(
            ("failures", period.key), lambda: records.failures(since, _MOST_RANKED)
        )
    except RecordsUnreadableError:
        images, clients, failures = [], [], []
    return {
        "top_images": images,
        "top_clients": clients,
        "failures": failures,
        "period": period,
    }


async def evicted_brief(reader: Reader, query: Mapping[str, str]) -> Context:
    """What gives way first."""
    del query
    live = await reader.live()
    answer = await reader.ask_soon({"do": "evicted_next", "limit": _LOOKED_THROUGH})
    objects = answer["objects"] if answer and answer.get("ok") else []
    usage = live.usage
    full = usage.held / usage.limit if usage is not None and usage.limit else 0.0
    return {"evicted": _by_image(objects)[:_MOST_EVICTED], "full": full, "pending": answer is None}


def _by_image(objects: Sequence[Context]) -> list[Context]:
    """What goes one after another and is of one image, as one."""
    found = []
    for image, some in groupby(objects, lambda one: one["image"]):
        together = list(some)
        size = sum(one["size"] for one in together)
        used = together[-1]["used"]
        found.append({"image": image, "objects": len(together), "size": size, "used": used})
    return found


def registry_of(origin: str) -> str:
    """A registry as images name it."""
    try:
        return registry_name(Origin.parse(origin))
    except ValueError:
        return urlsplit(origin).netloc or origin
