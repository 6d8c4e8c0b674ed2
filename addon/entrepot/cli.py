"""The command ``entrepot``: run the proxy, and look after its authority.

Exit codes: 0 well, 1 it could not start or do what was asked, 2 the command line is wrong.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mitmproxy import exceptions
from mitmproxy import options as mitmproxy_options
from mitmproxy.tools.dump import DumpMaster

from entrepot.config import Config, ConfigError
from entrepot.mirror import Mirror
from entrepot.mitm.addon import Entrepot
from entrepot.mitm.engine import Foundation, StartError
from entrepot.options import OPTIONS, Option
from entrepot.places import Listen
from entrepot.registry_config import load_config
from entrepot.storage_reasons import storage_reason
from entrepot_ca import AuthorityError, create, describe, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    args = _parser().parse_args(arguments)
    os.umask(0o077)
    try:
        code: int = args.run(args)
    except (ConfigError, StartError, AuthorityError, FileExistsError) as error:
        print(f"entrepot: {error}", file=sys.stderr)
        return 1
    except exceptions.OptionsError as error:
        print(f"entrepot: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"entrepot: {storage_reason(error)}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="entrepot", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the proxy")
    for option in OPTIONS:
        _add(serve, option)
    serve.set_defaults(run=_serve)
    authority = commands.add_parser("ca", help="the local certificate authority")
    actions = authority.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="path, fingerprint, expiry and constraints")
    show.set_defaults(run=_show)
    make = actions.add_parser("create", help="make a new authority")
    make.add_argument(
        "--force", action="store_true", help="replace the one there is, keeping it beside"
    )
    make.set_defaults(run=_create)
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


def _config(args: argparse.Namespace) -> Config:
    values = ((option.name, getattr(args, option.name, None)) for option in OPTIONS)
    given = {name: value for name, value in values if value is not None}
    return load_config(given, os.environ, Path.home(), os.geteuid() == 0)


def _serve(args: argparse.Namespace) -> int:
    config = _config(args)
    _try_to_listen(config)
    return asyncio.run(_proxy(Foundation.lay(config)))


def _try_to_listen(config: Config) -> None:
    """Say before anything is made that an address cannot be had; mitmproxy says it as a tuple."""
    with ExitStack() as held:  # all at once: each may stand in the way of another
        held.enter_context(_bound(config.listen, "--listen"))
        if config.transparent is not None:
            held.enter_context(_bound(config.transparent, "--transparent"))
        for mirror in config.mirror:
            held.enter_context(_bound(mirror, "--mirror"))


def _bound(listen: Listen | Mirror, option: str) -> socket.socket:
    try:
        places = socket.getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = places[0]
        tried = socket.socket(family, kind, protocol)
        try:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            tried.listen()
        except OSError:
            tried.close()
            raise
    except socket.gaierror as error:
        raise StartError(f"cannot listen on {listen}: the name does not resolve") from error
    except OSError as error:
        reason = (error.strerror or "it cannot be had").lower()
        raise StartError(f"cannot listen on {listen}: {reason}; see {option}") from error
    return tried


async def _proxy(foundation: Foundation) -> int:
    for name in ("", "asyncio", "hpack", "quic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    master = DumpMaster(mitmproxy_options.Options(), with_dumper=False)
    # Our hooks come before mitmproxy's own choices, as they do under `mitmdump -s`.
    after = [master.addons.get(name) for name in ("nextlayer", "tlsconfig")]
    for addon in after:
        master.addons.remove(addon)
    master.addons.add(Entrepot(foundation), *after)
    master.options.update(termlog_verbosity="warn")  # and let the addon configure itself
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, master.shutdown)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    await master.run()
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


if __name__ == "__main__":
    sys.exit(main())
