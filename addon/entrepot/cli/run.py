"""Runs the command that was read: with its settings, its failure as one line on stderr.

Each command is a module, imported when it is run: ``serve`` brings most of a start's imports.
"""

import argparse
import os
import sys
from pathlib import Path

from entrepot.app.start_error import StartError
from entrepot.config.load import load_config
from entrepot.config.options import OPTIONS
from entrepot.config.settings import Config, ConfigError
from entrepot_ca import AuthorityError


def run(args: argparse.Namespace) -> int:
    """Run the command that ``args`` names; the exit code of the program."""
    os.umask(0o077)
    try:
        _run(args)
    except (ConfigError, StartError, AuthorityError, FileExistsError) as error:
        return _failed(error)
    except OSError as error:
        from entrepot.storage.errors import storage_reason  # noqa: PLC0415 seldom needed

        return _failed(storage_reason(error))
    return 0


def _run(args: argparse.Namespace) -> None:
    config = _config(args)
    match args.command:
        case "serve":
            from entrepot.cli import serve  # noqa: PLC0415 see above

            serve.run(config)
        case "ca show":
            from entrepot.cli import ca_show  # noqa: PLC0415

            ca_show.run(config)
        case "ca create":
            from entrepot.cli import ca_create  # noqa: PLC0415

            ca_create.run(config, force=args.force)
        case "ls":
            from entrepot.cli.images import ls  # noqa: PLC0415

            if args.next:
                ls.run_next(config, args.form)
            else:
                ls.run(config, args.filter, args.sort, args.form)
        case "show":
            from entrepot.cli.images import show  # noqa: PLC0415

            show.run(config, args.image, args.form)
        case "rm":
            from entrepot.cli.images import rm  # noqa: PLC0415

            rm.run(config, args.image, args.form, dry_run=args.dry_run)
        case "pin" | "unpin":
            from entrepot.cli.images import pin  # noqa: PLC0415

            pin.run(config, args.image, args.form, pin=args.command == "pin")


def _config(args: argparse.Namespace) -> Config:
    values = ((option.name, getattr(args, option.name, None)) for option in OPTIONS)
    given = {name: value for name, value in values if value is not None}
    return load_config(given, os.environ, Path.home(), os.geteuid() == 0)


def _failed(reason: object) -> int:
    print(f"entrepot: {reason}", file=sys.stderr)
    return 1
