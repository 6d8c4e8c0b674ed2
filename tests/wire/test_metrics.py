"""`/metrics` of a real run: what promtool says of it, and whether the numbers are those of the pulls."""

import subprocess
from typing import TYPE_CHECKING

from rig.client import Client
from rig.faults import FaultServer
from rig.images import KIB, incompressible
from rig.needs import need
from rig.process import eventually, program
from rig.proxy import Entrepot

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
BODY = b"".join(incompressible("metrics", 300 * KIB))


def test_promtool_has_nothing_to_say(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    need("promtool")
    path, _ = faults.add_blob("app", BODY)
    client.get(FAULT + path)
    entrepot.await_stored([path.rpartition("/")[2]])
    client.get(FAULT + path)
    eventually(lambda: b'registry_proxy_hits_total{type="blob"} 1.0' in entrepot.local("/metrics").body, within=10, what="counted")
    page = entrepot.local("/metrics")
    print(page.headers, page.body.decode())
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page.body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
