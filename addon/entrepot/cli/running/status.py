"""``entrepot status``: whether the proxy runs, how it does, and what it does now."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from entrepot.app.start_error import StartError
from entrepot.cli.frame.definition import FOLDER, WIDE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.styles import styled
from entrepot.cli.frame.text_table import age, duration, print_fields, print_table, size
from entrepot.cli.images.administrator import administrator
from entrepot.cli.running.hints import hints
from entrepot.config.settings import Config
from entrepot.control.client import connected

Document = dict[str, Any]
_STYLES = {"ok": "good", "degraded": "warning", "failing": "bad"}


@command(
    settings=FOLDER,
    forms=WIDE_FORMS,
    details="Says since when it runs and where it listens, how much it holds, what it fetches now,"
    " which upstreams are in trouble and which clients do not trust its CA; -o wide lists all"
    " upstreams. Ends with 1 where it does not run, or takes no pulls.",
    examples=(
        ("entrepot status", "how it does"),
        ("entrepot status -o wide", "with all upstreams, and their rate limits"),
        ("entrepot status --json | jq .usage.held", "one figure of it"),
    ),
)
def status(config: Config, form: str) -> int:
    """Print it. Raises ``StartError`` where there is no data folder either."""
    told = read_status(config)
    if form in ("json", "yaml"):
        print_document(told, form)
    elif told["running"]:
        _print(told, datetime.now(UTC), wide=form == "wide")
    else:
        _print_at_rest(told)
    return 0 if told["running"] and told["status"] != "failing" else 1


def read_status(config: Config) -> Document:
    """The status of the proxy of a data folder, as ``docs/status.schema.json`` has it."""
    found = live_status(config)
    if found is not None:
        return found
    usage = None
    with suppress(StartError), administrator(config.data) as ask:
        answer = ask({"do": "images", "limit": 0})
        held = answer["totals"]["size"] + answer["totals"]["other"]
        usage = {"held": held, "limit": answer["limit"]}
    return {"running": False, "data": str(config.data), "usage": usage}


def live_status(config: Config) -> Document | None:
    """What the running proxy says; None where none runs. Raises ``StartError``, OSError."""
    if not config.data.is_dir():
        return None
    with connected(config.data) as ask:
        if ask is None:
            return None
        told = ask({"do": "status"})
    if not told.pop("ok"):
        raise StartError(told["error"])
    return told


def _print_at_rest(told: Document) -> None:
    usage = told["usage"]
    held = "nothing: there is no such folder yet"
    if usage is not None:
        held = size(usage["held"])
        if usage["limit"] is not None:
            held += f" of {size(usage['limit'])}"
    print_fields(
        [
            ("state", styled("not running", "bad")),
            ("data", told["data"]),
            ("held", held),
            ("hint", "start it with `entrepot serve`; is it another folder? then say --data"),
        ]
    )


def _print(told: Document, now: datetime, *, wide: bool) -> None:
    print_fields(_fields(told, now))
    for title, rows in (
        ("Downloads", list(_downloads(told))),
        ("Upstreams" if wide else "Upstreams in trouble", list(_upstreams(told, now, wide=wide))),
        ("Clients that do not trust the CA", list(_untrusting(told, now))),
    ):
        if len(rows) > 1:
            print(f"\n{styled(title, 'heading')}")
            print_table(rows[0], rows[1:], _numbers(rows[0]))
    found = list(hints(told, now))
    if found:
        print(f"\n{styled('Hints', 'heading')}")
        print_fields(("-", hint) for hint in found)


def _fields(told: Document, now: datetime) -> Iterator[tuple[str, str]]:
    yield "state", styled(told["status"], _STYLES[told["status"]])
    for reason in told["reasons"]:
        yield "", f"{reason['code']}: {reason['reason']}"
    yield "version", f"{told['version']}, process {told['pid']}"
    yield "since", f"{told['started']}, {age(told['started'], now)}"
    yield "listening", ", ".join(map(_place, told["listening"]))
    yield "data", told["data"]
    if told["usage"] is not None:
        yield "held", _usage(told["usage"])
    authority = told["authority"]
    names = ", ".join(authority["permitted"]) or "any name"
    yield "authority", f"{authority['fingerprint']}, for {names}, until {authority['expires'][:10]}"
    rotation = authority["rotation"]
    if rotation is not None:
        yield "rotation", _rotation(rotation)
    if told["offline"]:
        yield "upstream", "offline: no registry is asked"
    elif told["upstream_proxy"] is not None:
        yield "upstream", f"through {told['upstream_proxy']}"


def _rotation(rotation: Document) -> str:
    ready = f"{rotation['waiting']} of {rotation['clients']} clients may not be ready"
    if rotation["phase"] == "switched":
        return f"the successor signs since {rotation['switch'][:10]}; {ready}"
    return f"a successor signs from {rotation['switch'][:10]} on; {ready}"


def _place(listening: Document) -> str:
    words = listening["as"]
    if words == "mirror":
        words = f"mirror of {listening['registry'] or 'any registry'}"
    return f"{listening['address']} ({words})"


def _usage(usage: Document) -> str:
    share = f"{100 * usage['held'] // max(1, usage['limit'])}%"
    words = [f"{size(usage['held'])} of {size(usage['limit'])} ({share})"]
    if usage["unfinished"]:
        words.append(f"{size(usage['unfinished'])} unfinished")
    return f"{', '.join(words)}; {size(usage['free'])} free on the disk"


def _downloads(told: Document) -> Iterator[list[str]]:
    yield ["IMAGE", "LAYER", "DONE", "OF", "RATE", "LEFT", "WAITING"]
    yield from map(download_row, told["downloads"])


def download_row(one: Document) -> list[str]:
    """A download in the columns image, layer, done, of, rate, left, waiting."""
    repositories = one["repositories"] or ["…"]
    return [
        f"{one['registry']}/{repositories[0]}",
        one["digest"].partition(":")[2][:12],
        size(one["done"]),
        "-" if one["size"] is None else size(one["size"]),
        f"{size(one['rate'])}/s",
        "-" if one["left"] is None else duration(one["left"]),
        str(one["waiting"]),
    ]


def _upstreams(told: Document, now: datetime, *, wide: bool) -> Iterator[list[str]]:
    yield ["HOST", "STATE", "ASKED", "FIRST BYTE", "PULLS LEFT", "LAST FAILURE"]
    for host, one in told["upstreams"].items():
        if wide or one["state"] != "ok":
            yield [
                host,
                one["state"],
                "-" if one["last_asked"] is None else age(one["last_asked"], now),
                "-" if one["first_byte_ms"] is None else f"{one['first_byte_ms']['median']:.0f} ms",
                _pulls_left(one["ratelimit"]),
                _failure(one["last_failure"], now),
            ]


def _pulls_left(limit: Document | None) -> str:
    if limit is None or limit["remaining"] is None:
        return "-"
    return f"{limit['remaining']} of {limit['limit'] if limit['limit'] is not None else '?'}"


def _failure(failure: Document | None, now: datetime) -> str:
    return "-" if failure is None else f"{age(failure['at'], now)}: {failure['reason']}"


def _untrusting(told: Document, now: datetime) -> Iterator[list[str]]:
    yield ["CLIENT", "LIBRARY", "LAST", "REFUSED", "TUNNELLED", "REGISTRIES"]
    for one in told["untrusting_clients"]:
        yield [
            one["client"],
            one["library"] or "?",
            age(one["last"], now),
            str(one["refused"]),
            str(one["tunnelled"]),
            ", ".join(one["hosts"]),
        ]


def _numbers(header: list[str]) -> set[int]:
    """The columns that are set to the right."""
    right = {"DONE", "OF", "RATE", "LEFT", "WAITING", "FIRST BYTE", "REFUSED", "TUNNELLED"}
    return {number for number, name in enumerate(header) if name in right}
