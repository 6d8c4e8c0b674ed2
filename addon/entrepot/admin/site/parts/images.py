"""The images that are held: a page of them, sorted and filtered, and sums by registry."""

import asyncio
from collections.abc import Mapping
from typing import Any

from entrepot.admin.data.reader import Document, Reader
from entrepot.admin.data.record_queries import number_of

Context = dict[str, Any]
SORTS = {"used": "Last pull", "size": "Size", "name": "Name"}
MOST = 50
_MOST_REGISTRIES = 24


async def images(reader: Reader, query: Mapping[str, str]) -> Context:
    """The table, and what it is a part of."""
    text = query.get("filter", "")[:300]
    sort = query.get("sort", "used")
    sort = sort if sort in SORTS else "used"
    offset = number_of(query, "offset", 0, 10**9)
    answer, registries, live = await asyncio.gather(
        reader.ask_soon(
            {"do": "images", "filter": text, "sort": sort, "offset": offset, "limit": MOST}
        ),
        reader.ask_soon({"do": "registries", "limit": _MOST_REGISTRIES}),
        reader.live(),
    )
    return {
        "pending": answer is None,
        "answer": answer if answer is not None and answer.get("ok") else None,
        "problem": _problem(answer),
        "registries": registries["registries"] if registries and registries.get("ok") else [],
        "filter": text,
        "sort": sort,
        "sorts": SORTS,
        "offset": offset,
        "most": MOST,
        "usage": live.usage,
    }


async def evicted(reader: Reader, query: Mapping[str, str]) -> Context:
    """What gives way first when room is needed."""
    del query
    answer = await reader.ask_soon({"do": "evicted_next", "limit": MOST})
    return {
        "pending": answer is None,
        "evicted": answer["objects"] if answer and answer.get("ok") else [],
        "problem": _problem(answer),
    }


async def image(reader: Reader, query: Mapping[str, str]) -> Context:
    """One image, and what it is made of."""
    answer = await reader.ask({"do": "image", "name": query.get("name", "")[:1000]})
    return {"answer": answer if answer.get("ok") else None, "problem": _problem(answer)}


def _problem(answer: Document | None) -> str:
    return "" if answer is None or answer.get("ok") else str(answer.get("error"))
