"""mitmproxy's master with the add-ons that a cache needs, for ``entrepot serve``.

``mitmdump`` has one of its own. ``lean_imports`` comes before this: the import of one add-on is
that of all otherwise.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator, Mapping

from mitmproxy import exceptions, options
from mitmproxy.addons import (
    block,
    disable_h2c,
    errorcheck,
    next_layer,
    proxyserver,
    tlsconfig,
    update_alt_svc,
)
from mitmproxy.master import Master

from entrepot.app.foundation import Foundation
from entrepot.app.ports_in_use import try_to_listen
from entrepot.app.socket_activation import Place, Sockets, assign_sockets, take_sockets
from entrepot.app.start_error import StartError
from entrepot.config.settings import Config
from entrepot.mitm.addon import Entrepot


def serve(config: Config) -> None:
    """Run the proxy until a signal ends it. Raises :class:`StartError`."""
    sockets = assign_sockets(config, take_sockets(os.environ, os.getpid()))
    try_to_listen(config, sockets)
    foundation = Foundation.lay(config)
    try:
        asyncio.run(_run(foundation, sockets))
    except exceptions.OptionsError as error:
        raise StartError(str(error)) from error


async def _run(foundation: Foundation, sockets: Mapping[Place, Sockets]) -> None:
    for name in ("", "asyncio", "hpack", "quic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    master = Master(options.Options(), with_termlog=True)
    entrepot = Entrepot(foundation, sockets)
    equip(master, foundation.config, entrepot)
    master.options.update(termlog_verbosity="warn")  # and let the addon configure itself
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, master, entrepot)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    await master.run()


def _stop(master: Master, entrepot: Entrepot) -> None:
    """Let what is under way end, then stop; at a second signal at once."""
    if master.should_exit.is_set():
        entrepot.stop_at_once()
    master.shutdown()


def equip(master: Master, config: Config, entrepot: Entrepot) -> None:
    """Add mitmproxy's add-ons and ours, in the order in which they are asked."""
    after = [next_layer.NextLayer(), tlsconfig.TlsConfig()]
    master.addons.add(
        block.Block(),
        disable_h2c.DisableH2C(),
        *_passwords(config),
        proxyserver.Proxyserver(),
        update_alt_svc.UpdateAltSvc(),
        errorcheck.ErrorCheck(),
        *after,
    )
    # Our hooks come before mitmproxy's own choices, as they do under `mitmdump -s`; those that make
    # them were there already, since their options have to be.
    for addon in after:
        master.addons.remove(addon)
    master.addons.add(entrepot, *after)


def _passwords(config: Config) -> Iterator[object]:
    if config.proxyauth is not None:
        from mitmproxy.addons.proxyauth import ProxyAuth  # noqa: PLC0415 and an LDAP client

        yield ProxyAuth()
