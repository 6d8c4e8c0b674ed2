"""Who asked for what: the request log, and the clients."""

from collections.abc import Mapping
from typing import Any

from entrepot.admin.data.periods import PERIODS, period_of
from entrepot.admin.data.reader import Reader
from entrepot.admin.data.record_queries import filter_of, number_of
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import RecordsUnreadableError

Context = dict[str, Any]
MOST = 60
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
