"""`GET /setup` while the proxy changes its authority: clients take both certificates."""

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.test_setup import ANCHOR, STORE, Client, client, script_of
from rig.process import clean_environment
from rig.proxy import PYTHON, Entrepot

if TYPE_CHECKING:
    from ca.conftest import Machine

NEXT = f"{STORE}/entrepot-next.crt"

__all__ = ["client"]


def rotate(entrepot: Entrepot, *words: str) -> None:
    command = [PYTHON, "-m", "entrepot.cli", "ca", "rotate", *words, "--data", str(entrepot.data)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=entrepot.folder,
        env=clean_environment(entrepot.folder),
    )
    assert done.returncode == 0, done.stderr


def certificates(machine: "Machine") -> list[bytes]:
    return [machine.at(path).read_bytes() for path in (ANCHOR, NEXT) if machine.at(path).exists()]


@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_a_client_follows_a_rotation_without_a_new_fingerprint(client: Client) -> None:
    """Since the certificate that it has vouches for the next; both are gone after an uninstall."""
    client.machine.offer("openssl")
    before = client.machine.listing()
    assert client.install().returncode == 0
    rotate(client.entrepot)
    found = x509.load_pem_x509_certificates(client.entrepot.ca_pem)
    old, new = (one.public_bytes(Encoding.PEM) for one in found)

    checked = client.setup("--check")
    assert checked.returncode == 1
    assert "is about to change to another certificate" in checked.stdout
    done = client.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert certificates(client.machine) == [old, new]
    assert client.daemons.told().count("restart containerd") == 3
    settled = client.machine.listing()
    assert client.setup().returncode == 0
    assert client.machine.listing() == settled
    assert client.daemons.told().count("restart containerd") == 3
    text = client.entrepot.local("/setup/cloud-init").body.decode()
    assert text.count("BEGIN CERTIFICATE") == 4

    rotate(client.entrepot, "--now")
    done = client.setup()
    assert done.returncode == 0, done.stdout + done.stderr
    assert certificates(client.machine) == [new]
    assert client.setup("--uninstall").returncode == 0
    assert client.machine.listing() == before
    assert script_of(client.entrepot) == client.script
