"""``entrepot ca rotate``: a successor for the authority, announced before it signs.

The command writes the folder ``ca``, and tells a running proxy, which takes that up at once.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.ca.standing import date_text, described, print_clients
from entrepot.cli.data_owner import become_owner
from entrepot.cli.frame.definition import FOLDER, command
from entrepot.config.settings import Config
from entrepot.config.units import parse_duration
from entrepot_ca import Rotation, advance, announce, move
from entrepot_ca import abort as abort_rotation


@command(
    settings=(*FOLDER, "permit"),
    details="The successor is announced at once: /ca.pem, ca/install.sh and the set-up line give"
    " both certificates. The authority in use signs until the date, in 30 days unless you say"
    " otherwise; then the running proxy changes by itself, without a restart. Clients that have"
    " installed both by then notice nothing. entrepot ca show says which have not fetched them.",
    examples=(
        ("entrepot ca rotate --in 14d", "announce a successor that signs in two weeks"),
        ("entrepot ca rotate --until 2026-12-28T04:00Z", "move the date"),
        ("entrepot ca rotate --now", "all clients have it: change at once"),
        ("entrepot ca rotate --abort", "undo it, as long as it does not sign"),
    ),
)
def rotate(
    config: Config,
    *,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="when the successor begins to sign; UTC if it says none"),
    ] = None,
    within: Annotated[
        str | None, typer.Option("--in", metavar="DURATION", help="the same, from now: 14d")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="let the successor that is announced sign at once")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="with --now: also where clients may not be ready")
    ] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="undo the announcement; the successor is deleted")
    ] = False,
) -> None:
    """Do it. Raises ``AuthorityError``, and ``StartError`` for what cannot be."""
    if sum((until is not None, within is not None, now, abort)) > 1:
        raise typer.BadParameter("--until, --in, --now and --abort exclude each other")
    if force and not now:
        raise typer.BadParameter("--force goes with --now")
    try:
        date = None if until is None else parse_date(until)
        seconds = None if within is None else parse_duration(within)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    become_owner(config.data)
    if now:
        change_now(config, force=force)
    elif abort:
        undo(config)
    else:
        begin(config, date, seconds)


def parse_date(text: str) -> datetime:
    """Read a date or a time of ISO 8601; without a zone it is UTC."""
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"expected a date such as 2026-12-28 or 2026-12-28T04:00Z, got {text!r}"
        ) from None
    return date.replace(tzinfo=date.tzinfo or UTC)


def begin(config: Config, until: datetime | None = None, seconds: float | None = None) -> None:
    """Announce a successor that signs at a date, or in so many seconds; or move that of one.

    Raises ``AuthorityError``, and ``StartError`` for a date that cannot be.
    """
    now = datetime.now(UTC)
    switch = now + timedelta(seconds=seconds) if seconds is not None else until
    folder = config.data / "ca"
    under_way = advance(folder, now)
    try:
        if under_way is not None and not under_way.switched and switch is not None:
            rotation = move(folder, switch, now=now)
        else:
            rotation = announce(folder, permit=config.permit, switch=switch, now=now)
    except ValueError as error:
        raise StartError(str(error)) from error
    told, runs = described(config.data)
    print(f"predecessor:  {rotation.predecessor.fingerprint}")
    print(f"successor:    {rotation.successor.fingerprint}")
    print(f"signs from:   {date_text(rotation.switch)} on")
    _say_next(rotation, runs=runs)
    _check(told, rotation)


def change_now(config: Config, *, force: bool) -> None:
    """Let the successor sign at once. Raises ``StartError`` where a client may not be ready."""
    folder, now = config.data / "ca", datetime.now(UTC)
    told, runs = described(config.data)
    rotation = told["rotation"]
    announced = rotation is not None and rotation["phase"] == "announced"
    if announced and rotation["waiting"] and not force:
        print_clients(told, runs=runs)
        raise StartError(
            f"{rotation['waiting']} clients may not trust the successor yet, see above: install it "
            "there first, or add --force (then the one before signs for them, for 30 days)"
        )
    move(folder, now, now=now)
    switched = advance(folder, datetime.now(UTC))
    told, runs = described(config.data)
    print(f"fingerprint:  {told['fingerprint']}")
    print("The successor signs from now on.")
    _say_whether_it_runs(runs=runs)
    _check(told, switched)


def undo(config: Config) -> None:
    """Undo an announcement. Raises ``AuthorityError`` where there is nothing to undo."""
    rotation = abort_rotation(config.data / "ca")
    told, runs = described(config.data)
    print(f"fingerprint:  {told['fingerprint']}")
    print("The successor is not announced any more, and its key is gone.")
    if rotation is not None:
        print("On clients that have it, remove it by the same line that installed it.")
    _say_whether_it_runs(runs=runs)
    _check(told, None)


def _say_next(rotation: Rotation, *, runs: bool) -> None:
    print()
    print("Next, on every client, as root; it installs both certificates:")
    print("  sh ca/install.sh install --url http://PROXY:3128 \\")
    print(f"    --fingerprint {rotation.predecessor.fingerprint}")
    print("then restart its container engine. `entrepot ca show` says who has not fetched them.")
    _say_whether_it_runs(runs=runs)


def _say_whether_it_runs(*, runs: bool) -> None:
    if not runs:
        print("The proxy does not run; it takes this up when it starts.", file=sys.stderr)


def _check(told: dict[str, Any], rotation: Rotation | None) -> None:
    """Raise where the running proxy has not taken up what was done."""
    expected = None if rotation is None else (rotation.switch.isoformat(timespec="seconds"))
    found = told["rotation"] and told["rotation"]["switch"]
    if found != expected:
        raise StartError("the running proxy has not taken it up: see rotation_failed in its log")
