"""``entrepot doctor``: look at all that a cache depends on, and say what to do."""

import os
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.doctor.finding import Finding, Level, note, ok, problem
from entrepot.cli.doctor.of_authority import check_authority, now_utc
from entrepot.cli.doctor.of_machine import check_clock, check_disk, check_folder, check_ports
from entrepot.cli.doctor.of_proxy import check_request, check_running, has_login
from entrepot.cli.doctor.of_pull import check_pull
from entrepot.cli.doctor.of_upstreams import Answered, ask_registries, check_names, registries
from entrepot.cli.frame.definition import TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.parameters import ALL
from entrepot.cli.frame.styles import styled
from entrepot.cli.running.status import live_status
from entrepot.config.checking.check import check_config
from entrepot.config.load import Given
from entrepot.config.settings import Config
from entrepot.control.documents import Document
from entrepot.protocol.identifiers import Origin
from entrepot.version import VERSION

_WORDS = {
    Level.OK: ("ok", "good"),
    Level.NOTE: ("note", "faint"),
    Level.WARNING: ("warning", "warning"),
    Level.PROBLEM: ("PROBLEM", "bad"),
}


_IMAGE = typer.Option(
    "--image",
    metavar="IMAGE",
    help="pull the least of this image through the proxy; Docker Hub may count a pull",
)


@command(
    settings=ALL,
    forms=TABLE_FORMS,
    details="Checks the settings, the data folder, its disk, the ports, the certificate authority,"
    " DNS, the registries, the time of day, the running proxy, and asks a registry through it as a"
    " client does. Give it the options that entrepot serve has. Nothing is changed. Ends with 1"
    " where there is a problem; warnings and notes are none.",
    examples=(
        ("entrepot doctor", "look at everything"),
        ("entrepot doctor --image redis:7", "and try a pull"),
        ("entrepot doctor --config /etc/entrepot.toml", "with the settings of the service"),
        ("entrepot doctor --json | jq '.findings[] | select(.level == \"problem\")'", "for CI"),
    ),
)
def doctor(given: Given, form: str, *, image: Annotated[str | None, _IMAGE] = None) -> int:
    """Print the findings."""
    found: list[Finding] = []
    for finding in findings(given, image):
        found.append(finding)
        if form == "table":
            _print(finding)
    counts = Counter(one.level for one in found)
    if form == "table":
        print(_summary(counts))
    else:
        print_document(_document(found, counts), form)
    return 1 if counts[Level.PROBLEM] else 0


def findings(given: Given, image: str | None) -> Iterator[Finding]:
    """All of them, as they are found."""
    checked = check_config(given, os.environ, Path.home(), root=os.geteuid() == 0)
    for one in checked.problems:
        where = one.where if one.line is None else f"{one.where}:{one.line}"
        yield problem("settings", f"{where}: {one.reason}", "see `entrepot config check`")
    if checked.config is None:
        return
    if not checked.problems:
        yield ok("settings", "no problem")
    yield from _of(checked.config, image)


def _of(config: Config, image: str | None) -> Iterator[Finding]:
    yield from check_folder(config)
    live, trouble = _live(config)
    yield from check_disk(config, live)
    yield from check_ports(config, live)
    yield from check_authority(config, now_utc())
    origins = registries(config)
    if config.offline:
        yield note("registries", "none is asked: --offline")
    else:
        yield from check_names(config, origins)
        answered = _asked(config, origins)
        yield from (one.finding for one in answered)
        yield from check_clock(next((one.date for one in answered if one.date), None))
    if trouble is not None:
        yield trouble
        return
    yield from check_running(live, VERSION)
    if live is not None:
        yield from check_request(config, live, origins)
        if image is not None and has_login(config):
            yield from check_pull(config, live, image)


def _live(config: Config) -> tuple[Document | None, Finding | None]:
    """What the running proxy says, or why it says nothing."""
    try:
        return live_status(config), None
    except (OSError, StartError) as error:
        return None, problem("proxy", str(error), "run this as root, or as the proxy's user")


def _asked(config: Config, origins: list[Origin]) -> list[Answered]:
    try:
        return ask_registries(config, origins)
    except (OSError, ValueError) as error:
        return [Answered(problem("registries", str(error), "see --upstream-ca"))]


def _print(finding: Finding) -> None:
    word, style = _WORDS[finding.level]
    _print_wrapped(f"{styled(word.ljust(8), style)}{finding.about:12}", finding.said)
    if finding.fix is not None:
        _print_wrapped(" " * 20, f"→ {finding.fix}")
    sys.stdout.flush()


def _print_wrapped(start: str, text: str) -> None:
    room = shutil.get_terminal_size().columns - 20 if sys.stdout.isatty() else 0
    lines = textwrap.wrap(text, room, break_on_hyphens=False) if room > 20 else [text]
    print(f"{start}{lines[0]}")
    for line in lines[1:]:
        print(f"{' ' * 20}{line}")


def _summary(counts: Counter[Level]) -> str:
    words = [
        f"{counts[level]} {level.value}{'s' if counts[level] != 1 else ''}"
        for level in (Level.PROBLEM, Level.WARNING)
        if counts[level]
    ]
    style = "bad" if counts[Level.PROBLEM] else "warning" if words else "good"
    return styled(", ".join(words) or "all is well", style)


def _document(found: Iterable[Finding], counts: Counter[Level]) -> Document:
    return {
        "findings": [
            {"about": one.about, "level": one.level.value, "said": one.said, "fix": one.fix}
            for one in found
        ],
        "problems": counts[Level.PROBLEM],
        "warnings": counts[Level.WARNING],
    }
