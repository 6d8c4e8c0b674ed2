"""What the commands do, once the command line is read; failures are one line on stderr."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from entrepot.config.load import load_config
from entrepot.config.options import OPTIONS
from entrepot.config.settings import Config, ConfigError
from entrepot_ca import AuthorityError, create, describe, load


def run(args: argparse.Namespace) -> int:
    """Run the command that ``args`` names; the exit code of the program."""
    os.umask(0o077)
    commands = {"serve": _serve, "ca show": _show, "ca create": _create}
    try:
        return commands[args.command](args)
    except (ConfigError, AuthorityError, FileExistsError) as error:
        return _failed(error)
    except OSError as error:
        from entrepot.storage.errors import storage_reason  # noqa: PLC0415 seldom needed

        return _failed(storage_reason(error))


def _failed(reason: object) -> int:
    print(f"entrepot: {reason}", file=sys.stderr)
    return 1


def _serve(args: argparse.Namespace) -> int:
    config = _config(args)
    # In this order, and not at the top: mitmproxy is most of what a start costs.
    from entrepot.mitm.lean_imports import leave_out_unused_imports  # noqa: PLC0415

    leave_out_unused_imports()
    from entrepot.app.composition import StartError  # noqa: PLC0415
    from entrepot.mitm.master import serve  # noqa: PLC0415

    try:
        serve(config)
    except StartError as error:
        return _failed(error)
    return 0


def _show(args: argparse.Namespace) -> int:
    print(describe(load(_config(args).data / "ca"), datetime.now(UTC)))
    return 0


def _create(args: argparse.Namespace) -> int:
    config = _config(args)
    now = datetime.now(UTC)
    authority = create(config.data / "ca", permit=config.permit, now=now, force=args.force)
    print(describe(authority, now))
    return 0


def _config(args: argparse.Namespace) -> Config:
    values = ((option.name, getattr(args, option.name, None)) for option in OPTIONS)
    given = {name: value for name, value in values if value is not None}
    return load_config(given, os.environ, Path.home(), os.geteuid() == 0)
