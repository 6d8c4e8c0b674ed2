"""``entrepot stats``: what the cache saved in a time, by registry, image and client."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.styles import styled
from entrepot.cli.frame.text_table import age, count, print_fields, print_table, share, size
from entrepot.cli.running.records import EVER, SINCE_HELP, began, records_of
from entrepot.config.settings import Config
from entrepot.control.documents import Document, time_text
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Ranked, RecordReader, SumRow
from entrepot.observe.sums import Span, Sum

_SPANS: tuple[tuple[float, Span], ...] = ((2 * 86400.0, "minute"), (100 * 86400.0, "hour"))
"""How far back the sums of a span reach (``observe.sums``); those of days reach to the begin."""


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="Bytes that did not come from the registries, Docker Hub pulls that were not counted,"
    " the share of requests that were answered here, registries, and the images and clients that"
    " were pulled most. Works while the proxy runs, and when it does not.",
    examples=(
        ("entrepot stats", "the last 7 days"),
        ("entrepot stats --since all --top 3", "since it was first started"),
        ("entrepot stats --since 1h --json | jq .total.saved", "one figure"),
    ),
)
def stats(
    config: Config,
    form: str,
    *,
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help=SINCE_HELP)] = "7d",
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=0, max=1000, help="so many images and clients")
    ] = 10,
) -> None:
    """Print them. Raises ``StartError``."""
    now = time.time()
    start = began(since, now)
    with records_of(config.data) as reader:
        told = read_stats(reader, start, now, top)
    if form == "table":
        _print(told, datetime.fromtimestamp(now, UTC), since)
    else:
        print_document(told, form)


def read_stats(reader: RecordReader, since: float, now: float, top: int) -> Document:
    """The document of ``docs/stats.schema.json``. Raises ``RecordsUnreadableError``."""
    span: Span = next((one for reach, one in _SPANS if now - since <= reach), "day")
    rows = reader.sums(span, since, now + 1)
    registries = sorted(
        ((name, _added(one.sum for one in rows if one.registry == name)) for name in _names(rows)),
        key=lambda one: (-one[1].sent, one[0]),
    )
    return {
        "since": time_text(since) if since else None,
        "until": time_text(now),
        "total": _sum(_added(one.sum for one in rows)),
        "outcomes": {
            outcome.value: sum(one.sum.requests for one in rows if one.outcome is outcome)
            for outcome in Outcome
        },
        "registries": [{"registry": name, **_sum(one)} for name, one in registries],
        "images": [
            {"image": "/".join(one.names), **_ranked(one)} for one in reader.top_images(since, top)
        ],
        "clients": [
            {"client": one.names[0], "agent": one.names[1], **_ranked(one)}
            for one in reader.clients(since, top)
        ],
    }


def _names(rows: Iterable[SumRow]) -> set[str]:
    return {one.registry for one in rows}


def _added(sums: Iterable[Sum]) -> Sum:
    total = Sum()
    for one in sums:
        for field in fields(Sum):
            setattr(total, field.name, getattr(total, field.name) + getattr(one, field.name))
    return total


def _sum(one: Sum) -> Document:
    members = {field.name: getattr(one, field.name) for field in fields(Sum)}
    return {**members, "saved": one.saved}


def _ranked(one: Ranked) -> Document:
    return {
        "pulls": one.pulls,
        "requests": one.requests,
        "failed": one.failed,
        "sent": one.sent,
        "from_upstream": one.from_upstream,
        "saved": one.saved,
        "last": time_text(one.last),
    }


def _print(told: Document, now: datetime, since: str) -> None:
    print_fields(_figures(told, since))
    for title, rows in (
        ("Registries", list(_registries(told))),
        ("Images", list(_of_ranked(told["images"], "image", now))),
        ("Clients", list(_of_ranked(told["clients"], "client", now))),
    ):
        if len(rows) > 1:
            print(f"\n{styled(title, 'heading')}")
            print_table(rows[0], rows[1:], set(range(1, 6)))


def _figures(told: Document, since: str) -> Iterator[tuple[str, str]]:
    total: dict[str, Any] = told["total"]
    yield "since", "the first start" if since == EVER else f"{told['since']}, {since}"
    saved, sent = total["saved"], total["sent"]
    yield "saved", f"{styled(size(saved), 'good')} of {size(sent)} sent ({share(saved, sent)})"
    if total["hub_pulls"]:
        saved, pulls = total["hub_pulls_saved"], total["hub_pulls"]
        yield "Docker Hub", f"{count(saved)} of {count(pulls)} pulls saved ({share(saved, pulls)})"
    hits, content = total["hits"], total["content"]
    yield "hits", f"{count(hits)} of {count(content)} manifests and blobs ({share(hits, content)})"
    yield "pulls", count(total["pulls"])
    outcomes = ", ".join(f"{count(n)} {name}" for name, n in told["outcomes"].items() if n)
    yield "requests", f"{count(total['requests'])}{': ' if outcomes else ''}{outcomes}"


def _registries(told: Document) -> Iterator[list[str]]:
    yield ["REGISTRY", "PULLS", "REQUESTS", "HITS", "SENT", "SAVED"]
    for one in told["registries"]:
        yield [
            one["registry"],
            count(one["pulls"]),
            count(one["requests"]),
            share(one["hits"], one["content"]),
            size(one["sent"]),
            size(one["saved"]),
        ]


def _of_ranked(found: list[Document], name: str, now: datetime) -> Iterator[list[str]]:
    yield [name.upper(), "PULLS", "FAILED", "SENT", "SAVED", "LAST"]
    for one in found:
        yield [
            one[name],
            count(one["pulls"]),
            count(one["failed"]),
            size(one["sent"]),
            size(one["saved"]),
            age(one["last"], now),
        ]
