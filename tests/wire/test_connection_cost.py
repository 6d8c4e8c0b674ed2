"""What a connection must not cost: clients like docker open one for every request."""

import subprocess
from pathlib import Path

from rig.proxy import PYTHON

HUB = "hub.example.test"
DISPATCH = """
import asyncio, collections
from mitmproxy import connection, exceptions, hooks, options
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow
from mitmproxy.proxy.layers.http import HttpResponseHook
from mitmproxy.tools.dump import DumpMaster
from entrepot.mitm.dispatch import quicken

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
    quicken(addons)
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


def run_inside(program: str, folder: Path) -> None:
    """Run a program with the proxy's own Python and mitmproxy."""
    words = [PYTHON, "-W", "ignore", "-c", program, str(folder)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "well\n", done.stderr


def test_an_addon_is_asked_once_for_its_handlers(folder: Path) -> None:
    """Events reach the same add-ons in the same order as without us, each looked up once."""
    run_inside(DISPATCH, folder)
