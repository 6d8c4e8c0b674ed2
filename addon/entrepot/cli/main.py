"""The command ``entrepot``: run the proxy, look after its authority, see what is cached.

Exit codes: 0 well, 1 it could not start or do what was asked, 2 the command line is wrong.

What a command needs is imported when it is run: help is a matter of milliseconds so.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from entrepot.config.options import OPTIONS, Option

_FILTER = "a part of an image's name, or a pattern with * and ?"
_IMAGE = (
    "redis:7, HOST/NAME:TAG or HOST/NAME@DIGEST; without a tag the whole repository, and with a"
    " slash at its end all below it"
)


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
    for command in (show, make, *_add_images(commands)):
        for name in ("data", "config", "registry_config"):
            _add(command, by_name[name])
    _add(make, by_name["permit"])
    return parser


def _add_images(commands: Any) -> Iterator[argparse.ArgumentParser]:
    """The commands about what is cached."""
    listing = commands.add_parser("ls", help="list the images that are cached")
    listing.add_argument("filter", nargs="?", default="", metavar="FILTER", help=_FILTER)
    listing.add_argument(
        "--sort", choices=("name", "size", "used"), default="name", help="in which order"
    )
    listing.add_argument(
        "--next", action="store_true", help="what is evicted next, instead of images"
    )
    listing.add_argument("-o", choices=("table", "wide", "json"), default="table", dest="form")
    shown = commands.add_parser("show", help="show an image, and what it is made of")
    shown.add_argument("image", metavar="IMAGE", help=_IMAGE)
    removal = commands.add_parser("rm", help="remove images from the cache")
    removal.add_argument("image", nargs="+", metavar="IMAGE", help=_IMAGE)
    removal.add_argument("--dry-run", action="store_true", help="say what would go")
    pin = commands.add_parser("pin", help="keep images from being evicted")
    unpin = commands.add_parser("unpin", help="let pinned images be evicted again")
    for command in (pin, unpin):
        command.add_argument("image", nargs="+", metavar="IMAGE", help=_IMAGE)
    for command in (shown, removal, pin, unpin):
        command.add_argument("-o", choices=("table", "json"), default="table", dest="form")
    named = {"ls": listing, "show": shown, "rm": removal, "pin": pin, "unpin": unpin}
    for name, command in named.items():
        command.set_defaults(command=name)
        yield command


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "flag": {"action": "store_true", "default": None},
        "repeatable": {"action": "append", "metavar": option.metavar},
        "str": {"metavar": option.metavar},
    }
    parser.add_argument(option.flag, help=option.help, dest=option.name, **kinds[option.kind])
