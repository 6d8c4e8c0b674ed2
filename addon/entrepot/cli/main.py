"""The command ``entrepot``: run the proxy, and look after its authority.

Exit codes: 0 well, 1 it could not start or do what was asked, 2 the command line is wrong.

What a command needs is imported when it is run: help is a matter of milliseconds so.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from entrepot.config.options import OPTIONS, Option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    args = _parser().parse_args(arguments)
    from entrepot.cli.run import run  # noqa: PLC0415 see above

    return run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="entrepot", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the proxy")
    for option in OPTIONS:
        _add(serve, option)
    serve.set_defaults(command="serve")
    authority = commands.add_parser("ca", help="the local certificate authority")
    actions = authority.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="path, fingerprint, expiry and constraints")
    show.set_defaults(command="ca show")
    make = actions.add_parser("create", help="make a new authority")
    make.add_argument(
        "--force", action="store_true", help="replace the one there is, keeping it beside"
    )
    make.set_defaults(command="ca create")
    by_name = {option.name: option for option in OPTIONS}
    for command in (show, make):
        for name in ("data", "config", "registry_config"):
            _add(command, by_name[name])
    _add(make, by_name["permit"])
    return parser


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "flag": {"action": "store_true", "default": None},
        "repeatable": {"action": "append", "metavar": option.metavar},
        "str": {"metavar": option.metavar},
    }
    parser.add_argument(option.flag, help=option.help, dest=option.name, **kinds[option.kind])
