"""``entrepot log``: the requests or pulls that were recorded, with what was answered and why."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document, print_line
from entrepot.cli.frame.styles import styled
from entrepot.cli.frame.text_table import size
from entrepot.cli.running.records import SINCE_HELP, began, records_of
from entrepot.config.settings import Config
from entrepot.control.documents import Document, time_text
from entrepot.observe.outcome import Outcome
from entrepot.observe.reading import Filter, RecordReader, StoredPull, StoredRequest
from entrepot.protocol.image_names import ImageName

FOLLOW_SECONDS = 1.0
_PAGE = 1000
_SHORT = len("sha256:") + 12
_STYLES = {
    Outcome.HIT: "good",
    Outcome.COLLAPSED: "good",
    Outcome.MISS: "plain",
    Outcome.BYPASS: "faint",
    Outcome.ERROR: "bad",
    Outcome.TUNNEL: "warning",
}
_IMAGE = typer.Argument(
    metavar="[REPOSITORY]", help="only of this repository: redis, ghcr.io/acme/app"
)
_OUTCOME = typer.Option(
    "--outcome", help="only what ended like this", show_choices=True, show_default=False
)


@command(
    settings=FOLDER,
    forms=TABLE_FORMS,
    details="The last ones, the latest at the end. A line has the time, the client, what came of"
    " it, status, method, what was asked for, bytes sent, milliseconds, and the reason. With"
    " --follow, --json prints an object a line.",
    examples=(
        ("entrepot log", "the last 50 requests"),
        ("entrepot log --follow --outcome error", "errors as they come"),
        ("entrepot log redis --client 10.1.2.3 --since 1d", "who, what, and why"),
        ("entrepot log --pulls --since 7d -n 1000 --json", "pulls, for a program"),
    ),
)
def log(
    config: Config,
    form: str,
    repository: Annotated[str | None, _IMAGE] = None,
    *,
    client: Annotated[
        str | None, typer.Option("--client", metavar="ADDRESS", help="only of this client")
    ] = None,
    registry: Annotated[
        str | None, typer.Option("--registry", metavar="HOST", help="only of this registry")
    ] = None,
    outcome: Annotated[
        Literal["hit", "miss", "collapsed", "bypass", "error", "tunnel"] | None, _OUTCOME
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help=SINCE_HELP)] = "all",
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="at most so many")
    ] = 50,
    pulls: Annotated[bool, typer.Option("--pulls", help="pulls, instead of requests")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="and those that come, until ^C")
    ] = False,
) -> None:
    """Print them. Raises ``StartError``."""
    if pulls and (follow or outcome):
        raise typer.BadParameter("requests alone have an outcome, and are followed")
    host, name = _parsed(repository)
    wanted = Filter(
        client=client,
        registry=registry or host,
        repository=name,
        outcome=Outcome(outcome) if outcome else None,
        since=began(since, time.time()) or None,
    )
    with records_of(config.data) as reader:
        kind = _PULLS if pulls else _REQUESTS
        found = list(_last(lambda before, most: kind.read(reader, wanted, before, most), lines))
        _print(kind, found, form, one_a_line=follow)
        if follow:
            _follow(reader, wanted, found, form)


def _parsed(repository: str | None) -> tuple[str | None, str | None]:
    """Registry and repository of a name; a tag at it says no more."""
    if repository is None:
        return None, None
    try:
        name = ImageName.parse(repository)
    except ValueError as error:
        raise StartError(str(error)) from None
    if name.is_prefix:
        raise StartError(f"expected one repository, got {repository!r}; see --registry")
    return name.registry, name.path


@dataclass(frozen=True, slots=True)
class _Kind:
    """Requests or pulls: how they are read, and told."""

    name: str
    read: Callable[[RecordReader, Filter, int | None, int], Sequence[Any]]
    document: Callable[[Any], Document]
    line: Callable[[Any], str]


def _last(read: Callable[[int | None, int], Sequence[Any]], most: int) -> Iterator[Any]:
    """The latest, in the order in which they came."""
    found: list[Any] = []
    while len(found) < most:
        before = found[-1].number if found else None
        page = read(before, min(_PAGE, most - len(found)))
        if not page:
            break
        found += page
    yield from reversed(found)


def _print(kind: _Kind, found: Sequence[Any], form: str, *, one_a_line: bool) -> None:
    if form == "table" or one_a_line:
        for one in found:
            _print_one(kind, one, form)
    else:
        print_document({kind.name: [kind.document(one) for one in found]}, form)


def _print_one(kind: _Kind, one: Any, form: str) -> None:
    if form == "table":
        print(kind.line(one), flush=True)
    else:
        print_line(kind.document(one), form)


def _follow(reader: RecordReader, wanted: Filter, found: Sequence[Any], form: str) -> None:
    """Print what comes, until ^C."""
    newest = found[-1].number if found else _newest(reader)
    while True:
        time.sleep(FOLLOW_SECONDS)
        for one in newer(reader, wanted, newest):
            _print_one(_REQUESTS, one, form)
            newest = one.number


def _newest(reader: RecordReader) -> int:
    return next((one.number for one in reader.requests(most=1)), 0)


def newer(reader: RecordReader, wanted: Filter, than: int, most: int = 10_000) -> list[Any]:
    """The requests that came after one, in their order; the latest ``most`` where they are more."""
    found: list[StoredRequest] = []
    while len(found) < most:
        before = found[-1].number if found else None
        page = reader.requests(wanted, before=before, most=_PAGE)
        fresh = [one for one in page if one.number > than]
        found += fresh
        if len(fresh) < _PAGE:
            break
    return found[::-1]


def _request_document(one: StoredRequest) -> Document:
    record = one.record
    return {
        "number": one.number,
        "pull": one.pull,
        "at": time_text(record.at),
        "client": record.client,
        "agent": record.agent,
        "road": record.road.value,
        "registry": record.registry,
        "kind": record.kind,
        "repository": record.repository,
        "reference": record.reference,
        "method": record.method,
        "status": record.status,
        "answered": record.answered,
        "outcome": record.outcome.value,
        "why": record.why,
        "cut": record.cut,
        "sent": record.sent,
        "from_disk": record.from_disk,
        "from_upstream": record.from_upstream,
        "first_byte_ms": record.first_byte_ms,
        "total_ms": record.total_ms,
    }


def _request_line(one: StoredRequest) -> str:
    record = one.record
    words = [
        _time(record.at),
        record.client.ljust(15),
        styled(record.outcome.value.ljust(9), _STYLES[record.outcome]),
        str(record.status or "left").rjust(4),
        record.method.ljust(4),
        _asked(record.registry, record.repository, record.reference, record.kind),
        f"{size(record.sent)},",
        f"{record.total_ms} ms:",
        record.why,
    ]
    if record.cut:
        words.append(f"(cut: {record.cut})")
    return " ".join(word for word in words if word)


def _asked(registry: str, repository: str, reference: str, kind: str) -> str:
    name = f"{registry}/{repository}" if repository else registry
    if ":" in reference:
        return f"{name}@{reference[:_SHORT]} {kind}"
    return f"{name}:{reference} {kind}" if reference else f"{name} {kind}"


def _pull_document(one: StoredPull) -> Document:
    return {
        "number": one.number,
        "began": time_text(one.began),
        "ended": time_text(one.ended),
        "client": one.client,
        "agent": one.agent,
        "road": one.road.value,
        "registry": one.registry,
        "repository": one.repository,
        "reference": one.reference,
        "requests": one.requests,
        "failed": one.failed,
        "sent": one.sent,
        "from_upstream": one.from_upstream,
        "hub_pulls": one.hub_pulls,
        "hub_pulls_saved": one.hub_pulls_saved,
    }


def _pull_line(one: StoredPull) -> str:
    name = _asked(one.registry, one.repository, one.reference, "")
    words = [
        _time(one.began),
        one.client.ljust(15),
        name.rstrip(),
        f"{size(one.sent)}, {size(one.from_upstream)} from upstream,",
        f"{one.requests} requests, {one.ended - one.began:.1f} s",
    ]
    if one.failed:
        words.append(f"({one.failed} failed)")
    return " ".join(words)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%m-%d %H:%M:%S")


_REQUESTS = _Kind(
    "requests",
    lambda reader, wanted, before, most: reader.requests(wanted, before=before, most=most),
    _request_document,
    _request_line,
)
_PULLS = _Kind(
    "pulls",
    lambda reader, wanted, before, most: reader.pulls(wanted, before=before, most=most),
    _pull_document,
    _pull_line,
)
