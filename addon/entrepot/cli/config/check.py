"""``entrepot config check``: every problem of the settings, and those in force."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from entrepot.app.self_proxy_check import without_loops
from entrepot.app.start_error import StartError
from entrepot.auth.credential_helper import CredentialHelper
from entrepot.auth.docker_config import read_docker_config
from entrepot.cli.frame.definition import TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.parameters import ALL
from entrepot.cli.frame.styles import styled
from entrepot.cli.frame.text_table import print_table
from entrepot.config.checking.check import Checked, InForce, Problem, check_config
from entrepot.config.load import Given
from entrepot.config.settings import Config
from entrepot.events.log import Events
from entrepot.http_client.connect.trust_store import Roots


@command(
    settings=ALL,
    forms=TABLE_FORMS,
    details="Reads what entrepot serve would read with the same options: the environment, the TOML"
    " file, a registry's config.yml, and the files that these name. Says every problem with its"
    " line, and each setting in force with who says it. Nothing is changed, and no secret shown."
    " Ends with 1 where there is a problem.",
    examples=(
        ("entrepot config check --config /etc/entrepot.toml", "before a restart"),
        ("entrepot config check --json | jq '.problems[]'", "for a program"),
    ),
)
def check(given: Given, form: str) -> int:
    """Print both."""
    checked = check_config(given, os.environ, Path.home(), root=os.geteuid() == 0)
    if checked.config is not None:
        checked.problems += _beyond(checked.config)
    if form == "table":
        _print(checked)
    else:
        problems, settings = map(asdict, checked.problems), map(asdict, checked.settings)
        print_document({"problems": list(problems), "settings": list(settings)}, form)
    return 1 if checked.problems else 0


def _print(checked: Checked) -> None:
    for problem in checked.problems:
        print(f"{styled(_place(problem.where, problem.line), 'heading')}: {problem.reason}")
    if checked.settings:
        rows = [_row(one) for one in checked.settings]
        print_table(["SETTING", "VALUE", "SAID BY"], rows, set(), gives_way=1)
    count = len(checked.problems)
    said = f"{count} problem{'s' if count != 1 else ''}" if count else "no problem"
    print(styled(said, "bad" if count else "good"))


def _row(one: InForce) -> list[str]:
    return [one.name, one.value or "-", _place(one.origin, one.line)]


def _place(where: str, line: int | None) -> str:
    return where if line is None else f"{where}:{line}"


def _beyond(config: Config) -> Iterator[Problem]:
    """What a start would stumble over that the settings lead to."""
    events = Events()
    try:
        without_loops(config, events)
    except StartError as error:
        yield Problem("the settings", None, str(error))
    try:
        Roots.find(config.upstream_ca)
    except (OSError, ValueError) as error:
        yield Problem("upstream_ca", None, str(error))
    if config.docker_config is not None:
        try:
            read_docker_config(config.docker_config, _helper)
        except (OSError, ValueError) as error:
            yield Problem("docker_config", None, str(error))
    if (spec := config.proxyauth or "").startswith("@") and not Path(spec[1:]).is_file():
        yield Problem("proxyauth", None, f"there is no file {spec[1:]}")
    yield from _of_folder(config.data)


def _helper(name: str, server: str) -> CredentialHelper:
    return CredentialHelper(name, server, Events(), lambda: 0.0)


def _of_folder(data: Path) -> Iterator[Problem]:
    there = next(path for path in (data, *data.absolute().parents) if path.exists())
    if not there.is_dir():
        yield Problem("data", None, f"{there} is no folder")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Problem("data", None, f"this user may not write to {there}")
