"""What a connection must not cost: clients like docker open one for every request."""

import ssl
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Client
from rig.proxy import PYTHON, Entrepot, Runner

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"
DISPATCH = """
import asyncio, collections
from mitmproxy import connection, exceptions, hooks, options
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow
from mitmproxy.proxy.layers.http import HttpResponseHook
from mitmproxy.tools.dump import DumpMaster
from entrepot.mitm.event_dispatch import remember_handlers

asked, heard = collections.Counter(), []

class Listener:
    def __init__(self, name, *addons):
        self.name, self.addons = name, addons
    def __getattr__(self, name):
        asked[name] += 1
        raise AttributeError(name)
    def client_connected(self, client):
        heard.append(self.name)

class Waiting(Listener):
    async def client_connected(self, client):
        await asyncio.sleep(0)
        heard.append(self.name)

class Failing(Listener):
    def client_connected(self, client):
        raise ValueError("wanted")

class Halting(Listener):
    def client_connected(self, client):
        heard.append(self.name)
        raise exceptions.AddonHalt

class Flows(Listener):
    def response(self, flow):
        heard.append("response")
    def update(self, flows):
        heard.append(f"update of {len(flows)}")

async def main():
    addons = DumpMaster(options.Options(), with_termlog=False, with_dumper=False).addons
    remember_handlers(addons)
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))

    async def happens():
        heard.clear()
        await addons.handle_lifecycle(server_hooks.ClientConnectedHook(client))
        return " ".join(heard)

    assert await happens() == ""
    inner = Listener("inner")
    addons.add(Listener("first", inner), Waiting("second"))
    assert await happens() == "first inner second", heard
    asked.clear()
    assert await happens() == "first inner second", heard
    assert not asked, asked

    failing = Failing("failing", Listener("left out"))
    addons.add(failing, Halting("last"), Listener("never"))
    assert await happens() == "first inner second last", heard
    addons.remove(failing)
    addons.remove(addons.get("last"))
    assert await happens() == "first inner second never", heard

    addons.add(Flows("flows"))
    heard.clear()
    await addons.handle_lifecycle(HttpResponseHook(tflow.tflow(resp=True)))
    assert heard == ["response", "update of 1"], heard
    print("well")

asyncio.run(main())
"""

HANDSHAKES = """
import asyncio, ssl, sys
from datetime import UTC, datetime, timedelta
from mitmproxy import connection, ctx, options, tls
from mitmproxy.proxy.context import Context
from mitmproxy.tools.dump import DumpMaster
from OpenSSL import SSL
from entrepot.mitm.hooks.tls_contexts import TlsContexts
from entrepot.mitm.state import ProxyState

def connect(server):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except (ssl.SSLWantReadError, SSL.WantReadError):
            pass
        if side is client:
            server.bio_write(outgoing.read())
        else:
            incoming.write(server.bio_read(65535))

async def main():
    DumpMaster(options.Options(), with_termlog=False, with_dumper=False)
    ctx.options.update(confdir=sys.argv[1])
    now = datetime.now(UTC)
    handshakes = TlsContexts(ProxyState(), lambda: now)

    def begin():
        client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
        client.sni = "hub.example.test"
        data = tls.TlsData(client, Context(client, ctx.options))
        handshakes.tls_start_client(data)
        return data.ssl_conn

    def serial():
        return begin().get_certificate().get_serial_number()

    begun = begin()
    connect(begun)
    begun.sendall(bytes(1 << 20))
    assert len(begun.bio_read(65535)) > 1 << 20
    try:
        begun.bio_read(65535)
    except SSL.WantReadError:
        pass
    else:
        raise AssertionError("there was more")

    first = serial()
    now += timedelta(days=29)
    assert serial() == first
    now += timedelta(days=2)
    second = serial()
    assert second != first
    assert serial() == second
    handshakes.configure({"tls_version_client_min"})
    assert serial() == second
    ctx.options.update(tls_version_client_min="TLS1_3")
    handshakes.configure({"tls_version_client_min"})
    try:
        serial()
    except AttributeError:
        print("well")

asyncio.run(main())
"""


def handshake(entrepot: Entrepot, context: ssl.SSLContext, host: str = HUB) -> ssl.SSLSocket:
    """CONNECT and TLS with the settings of `context`."""
    context.load_verify_locations(cadata=entrepot.ca_pem.decode())
    return Client(entrepot.port, context).tunnel(host)


def run_inside(program: str, folder: Path) -> None:
    """Run a program with the proxy's own Python and mitmproxy."""
    words = [PYTHON, "-W", "ignore", "-c", program, str(folder)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "well\n", done.stderr


def test_an_addon_is_asked_once_for_its_handlers(folder: Path) -> None:
    """Events reach the same add-ons in the same order as without us, each looked up once."""
    run_inside(DISPATCH, folder)


def test_handshakes_over_months(folder: Path) -> None:
    """A leaf is renewed before it expires; mitmproxy's own options leave contexts to it.

    And a chunk of a body leaves the connection in one piece.
    """
    run_inside(HANDSHAKES, folder)


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_what_a_handshake_needs_is_kept(start_entrepot: "StartEntrepot", runner: Runner) -> None:
    """The leaf is made once, and no ticket with each handshake: mitmproxy's own would give one."""
    entrepot = start_entrepot(runner=runner)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    leaves = set()
    for _ in range(3):
        with handshake(entrepot, context) as tls:
            leaves.add(tls.getpeercert(binary_form=True))
            assert tls.session is not None
            assert not tls.session.has_ticket
    assert len(leaves) == 1


def test_handshakes_are_modern(entrepot: Entrepot) -> None:
    """TLS 1.2 or newer, forward secret and authenticated, or there is no connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with handshake(entrepot, context) as tls:
        assert tls.cipher() == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
    assert takes(entrepot, "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert takes(entrepot, "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert not takes(entrepot, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA")
    assert not takes(entrepot, "ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1)


def takes(
    entrepot: Entrepot, ciphers: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> bool:
    """Whether a handshake succeeds with these ciphers and this version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    try:
        handshake(entrepot, context).close()
    except ssl.SSLError:
        return False
    return True


def test_each_host_has_its_own_leaf(client: Client) -> None:
    """A context is kept for one host: nobody is shown another's certificate."""
    names = (HUB, "registry.example.test", "basic.example.test", HUB)
    leaves = [client.certificate(name) for name in names]  # which verifies the name
    assert len(set(leaves)) == len(set(names))
