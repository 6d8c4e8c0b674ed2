"""Who asked for what: the request log, and the clients."""

from collections.abc import Mapping
from typing import Any

from entrepot.admin.data.periods import PERIODS, period_of
from entrepot.admin.data.reader import Reader
from entrepot.admin.data.record_queries import filter_of, number_of
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter, RecordsUnreadableError, StoredPull

Context = dict[str, Any]
MOST = 60
ASKER = "asker"
"""In what a part is given, the address from which the page is read."""
_MOST_MEASURED = 8
_MOST_CLIENTS = 500


async def requests(reader: Reader, query: Mapping[str, str]) -> Context:
    """A page of the log, the latest first."""
    before = number_of(query, "before", 0, 2**53) or None
    wanted = filter_of(query)
    problem, found = "", []
    try:
        found = await reader.recorded(
            ("requests", wanted, before),
            lambda: reader.records.requests(wanted, before=before, most=MOST),
        )
    except RecordsUnreadableError as error:
        problem = str(error)
    return {
        "requests": found,
        "wanted": wanted,
        "before": before,
        "older": found[-1].number if len(found) == MOST else None,
        "outcomes": [outcome.value for outcome in Outcome],
        "problem": problem,
        "recorded": reader.sources.config.record.value,
    }


async def measured(reader: Reader, query: Mapping[str, str]) -> Context:
    """The latest pulls of one client: of who reads the page, unless another is named."""
    recorded = reader.sources.config.record
    client = query.get("client") or query.get(ASKER, "")
    wanted = Filter(client=recorded.shown(client))
    found: list[StoredPull] = []
    problem = "Requests are not recorded (--record none)." if wanted.client == "" else ""
    if not problem:
        try:
            found = await reader.recorded(
                ("measured", wanted), lambda: reader.records.pulls(wanted, most=_MOST_MEASURED)
            )
        except RecordsUnreadableError as error:
            problem = str(error)
    return {"pulls": [one for one in found if one.sent], "client": client, "problem": problem}


async def clients(reader: Reader, query: Mapping[str, str]) -> Context:
    """Who pulled in a period, and who does not trust the CA."""
    period = period_of(query.get("period", "week"))
    since, problem, found = reader.sources.wall() - period.seconds, "", []
    try:
        found = await reader.recorded(
            ("all clients", period.key), lambda: reader.records.clients(since, _MOST_CLIENTS)
        )
    except RecordsUnreadableError as error:
        problem = str(error)
    live = await reader.live()
    return {
        "clients": found,
        "period": period,
        "periods": PERIODS,
        "untrusting": live.untrusting,
        "rotation": live.authority["rotation"],
        "distrusting": {str(one["client"]) for one in live.untrusting},
        "problem": problem,
    }
