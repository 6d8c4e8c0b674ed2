"""ca/install.sh on machines of the tests' own, and what it leaves behind: nothing."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from entrepot_ca import Authority, create

if TYPE_CHECKING:
    from ca.conftest import Answering, Machine, Serving

INSTALL = Path(__file__).parents[2] / "ca" / "install.sh"
NOW = datetime.now(UTC)
HUB = ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO:443"]

# distribution -> folder, command, bundle
STORES = {
    "suse": ("/etc/pki/trust/anchors", "update-ca-certificates", "/etc/ssl/ca-bundle.pem"),
    "fedora": (
        "/etc/pki/ca-trust/source/anchors",
        "update-ca-trust",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    ),
    "arch": (
        "/etc/ca-certificates/trust-source/anchors",
        "update-ca-trust",
        "/etc/ssl/certs/ca-certificates.crt",
    ),
    "alpine": (
        "/usr/local/share/ca-certificates",
        "update-ca-certificates",
        "/etc/ssl/certs/ca-certificates.crt",
    ),
}
ANCHOR = f"{STORES['fedora'][0]}/entrepot.crt"
BUNDLE = STORES["fedora"][2]


def furnish(machine: "Machine", distribution: str) -> None:
    """Lay a distribution's store out, with one certificate of the administrator's in it."""
    folder, command, bundle = STORES[distribution]
    machine.write(f"{folder}/company.crt", "company\n")
    machine.program(command, f"cat {folder}/*.crt >{bundle}")
    machine.write(bundle, "")
    assert machine.inside(command).returncode == 0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return create(tmp_path / "authority", now=NOW)


@pytest.fixture
def ca(tmp_path: Path, authority: Authority) -> Path:
    """The certificate, as the proxy's administrator hands it out."""
    path = tmp_path / "www" / "ca.pem"
    path.parent.mkdir()
    path.write_bytes(authority.certificate_pem)
    return path


@pytest.fixture
def fedora(machine: "Machine") -> "Machine":
    furnish(machine, "fedora")
    return machine


@pytest.fixture
def url(ca: Path, answering: "Answering") -> Iterator[str]:
    """An address whose /ca.pem is the certificate."""
    with answering({"/ca.pem": ca.read_bytes()}) as address:
        yield f"http://{address}"


@pytest.mark.parametrize("distribution", STORES)
def test_nothing_is_left(machine: "Machine", ca: Path, distribution: str) -> None:
    """On each distribution, install puts the certificate into the store; uninstall undoes it."""
    furnish(machine, distribution)
    folder, _, bundle = STORES[distribution]
    before = machine.listing()
    assert machine.run(INSTALL, "install", "--file", str(ca)).returncode == 0
    assert machine.at(f"{folder}/entrepot.crt").read_bytes() == ca.read_bytes()
    assert ca.read_text() in machine.at(bundle).read_text()
    assert machine.run(INSTALL, "uninstall").returncode == 0
    assert machine.listing() == before


@pytest.mark.skipif(
    shutil.which("update-ca-certificates") is None, reason="update-ca-certificates is not installed"
)
@pytest.mark.parametrize("machine", ["dash"], indirect=True)
def test_curl_trusts_it(
    machine: "Machine", serving: "Serving", authority: Authority, ca: Path
) -> None:
    """With Debian's own command, curl trusts the proxy from install to uninstall, and no longer."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    curl = ("curl", "-sS", "https://registry.example.com/", "--connect-to")
    assert machine.inside("update-ca-certificates", "--fresh", path=path).returncode == 0
    before = machine.listing()
    with serving(authority.path.parent, "registry.example.com") as port:
        target = f"registry.example.com:443:127.0.0.1:{port}"
        machine.run(INSTALL, "install", "--file", str(ca), path=path)
        trusting = machine.inside(*curl, target, path=path)
        machine.run(INSTALL, "uninstall", path=path)
        assert machine.inside(*curl, target, path=path).returncode == 60
    assert trusting.returncode == 0
    assert machine.listing() == before


def test_install_twice(fedora: "Machine", ca: Path) -> None:
    """A second install changes nothing and says so."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    before = fedora.listing()
    again = fedora.run(INSTALL, "install", "--file", str(ca))
    assert (again.returncode, fedora.listing()) == (0, before)
    assert f"{ANCHOR} is there already." in again.stdout


def test_new_certificate(fedora: "Machine", ca: Path, tmp_path: Path) -> None:
    """The certificate of a new authority takes the old one's place."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    ca.write_bytes(create(tmp_path / "new", now=NOW).certificate_pem)
    fedora.run(INSTALL, "install", "--file", str(ca))
    assert fedora.at(ANCHOR).read_bytes() == ca.read_bytes()


def test_only_the_certificate(fedora: "Machine", ca: Path) -> None:
    """Text around the certificate and the line ends of other systems are left behind."""
    pem = ca.read_bytes()
    ca.write_bytes(b"subject: x\r\n" + pem.replace(b"\n", b"\r\n") + b"y\r\n")
    fedora.run(INSTALL, "install", "--file", str(ca))
    assert fedora.at(ANCHOR).read_bytes() == pem


def test_uninstall_nothing(fedora: "Machine") -> None:
    """Where nothing is installed, uninstall does nothing and is content."""
    before = fedora.listing()
    assert fedora.run(INSTALL, "uninstall").returncode == 0
    assert fedora.listing() == before


def test_no_store(machine: "Machine", ca: Path) -> None:
    """Without a trust store that it knows, install says what to install first."""
    before = machine.listing()
    refused = machine.run(INSTALL, "install", "--file", str(ca))
    assert (refused.returncode, machine.listing()) == (1, before)
    assert "install the package ca-certificates" in refused.stderr


def test_failed_refresh(fedora: "Machine", ca: Path) -> None:
    """What the store's own command says when it fails is shown, and the status is 1."""
    fedora.program("update-ca-trust", "echo no space left; exit 3")
    failed = fedora.run(INSTALL, "install", "--file", str(ca))
    assert failed.returncode == 1
    assert "no space left" in failed.stderr


def test_wrong_fingerprint(fedora: "Machine", ca: Path) -> None:
    """A wrong fingerprint installs nothing."""
    before = fedora.listing()
    refused = fedora.run(INSTALL, "install", "--file", str(ca), "--fingerprint", "0" * 64)
    assert (refused.returncode, fedora.listing()) == (1, before)
    assert "Nothing was done." in refused.stderr


@pytest.mark.parametrize("form", ["{}", "sha256 Fingerprint={}", "lower", "plain"])
def test_right_fingerprint(fedora: "Machine", ca: Path, authority: Authority, form: str) -> None:
    """The right one is accepted as openssl and `entrepot ca show` print it, and bare."""
    shown = authority.fingerprint
    text = {"lower": shown.lower(), "plain": shown.replace(":", "")}.get(form, form.format(shown))
    done = fedora.run(INSTALL, "install", "--file", str(ca), "--fingerprint", text)
    assert done.returncode == 0
    assert "as expected" in done.stdout


def test_unverified(fedora: "Machine", ca: Path, authority: Authority) -> None:
    """Without a fingerprint it shows the certificate's and says that nobody compared it."""
    done = fedora.run(INSTALL, "install", "--file", str(ca))
    assert authority.fingerprint in done.stdout
    assert "NOT VERIFIED" in done.stdout
    assert "entrepot ca show" in done.stdout


def bad_files(authority: Authority, folder: Path) -> dict[str, bytes]:
    """What is not one valid certificate of an authority, by what is said about it."""
    pem = authority.certificate_pem
    expired = create(folder / "old", now=NOW - timedelta(days=6 * 365)).certificate_pem
    key, certificate = generate_self_signed()
    return {
        "private key": authority.path.read_bytes(),
        "private key, which": key + pem,
        "exactly one": pem + pem,
        "not exactly": b"<html>404</html>",
        "a whole": pem[:200] + b"\n-----END CERTIFICATE-----\n",
        "not a whole": pem.replace(b"-----\nM", b"-----\n*", 1),
        "expired on": expired,
        "not a certificate authority": certificate,
    }


def generate_self_signed(
    *, ca: bool = False, until: datetime = NOW + timedelta(days=1)
) -> tuple[bytes, bytes]:
    """A key and a certificate that is no authority's, unless it shall be."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf.example")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(NOW)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return plain, certificate.public_bytes(Encoding.PEM)


def test_bad_files(fedora: "Machine", authority: Authority, ca: Path, tmp_path: Path) -> None:
    """What is not exactly one valid certificate of an authority is refused, untouched."""
    before = fedora.listing()
    for message, content in bad_files(authority, tmp_path).items():
        ca.write_bytes(content)
        refused = fedora.run(INSTALL, "install", "--file", str(ca))
        assert (refused.returncode, fedora.listing()) == (1, before), message
        assert message in refused.stderr


def test_after_2049(fedora: "Machine", ca: Path) -> None:
    """An expiry that needs the longer form of a date is read as well."""
    _, certificate = generate_self_signed(ca=True, until=datetime(2052, 12, 30, tzinfo=UTC))
    ca.write_bytes(certificate)
    fedora.run(INSTALL, "install", "--file", str(ca))
    assert "expires 2052-12-30" in fedora.run(INSTALL, "check").stdout


@pytest.mark.parametrize("program", ["curl", "wget"])
def test_url(fedora: "Machine", url: str, ca: Path, program: str) -> None:
    """The certificate is fetched from the proxy directly, past a proxy that is set already."""
    if program == "wget":
        fedora.offer_wget()
    else:
        fedora.offer(program)
    fedora.variables = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
    assert fedora.run(INSTALL, "install", "--url", f"{url}/").returncode == 0
    assert fedora.at(ANCHOR).read_bytes() == ca.read_bytes()


def test_url_fails(fedora: "Machine", url: str) -> None:
    """An address that has no certificate installs nothing."""
    fedora.offer("curl")
    before = fedora.listing()
    refused = fedora.run(INSTALL, "install", "--url", f"{url}/elsewhere")
    assert (refused.returncode, fedora.listing()) == (1, before)
    assert "cannot fetch" in refused.stderr


def test_docker_only(fedora: "Machine", ca: Path) -> None:
    """With --docker-only nothing but docker's folder for that host is written."""
    before = fedora.listing()
    hosts = ("ghcr.io", "registry.example.com:5000")
    fedora.run(INSTALL, "install", "--file", str(ca), "--docker-only", *hosts)
    new = fedora.listing().keys() - before.keys()
    written = {path for path in new if path.endswith(".crt")}
    assert written == {f"/etc/docker/certs.d/{host}/entrepot.crt" for host in hosts}
    assert all(path.startswith("/etc/docker") for path in new)


def test_docker_only_is_undone(fedora: "Machine", ca: Path) -> None:
    """Uninstall takes docker's folders back, but not a certificate of the administrator's."""
    fedora.write("/etc/docker/certs.d/ghcr.io/ca.crt", "company\n")
    before = fedora.listing()
    hosts = ("ghcr.io", "registry.example.com:5000")
    fedora.run(INSTALL, "install", "--file", str(ca), "--docker-only", *hosts)
    fedora.run(INSTALL, "uninstall")
    assert fedora.listing() == before


@pytest.mark.parametrize("host", HUB)
def test_docker_only_hub(fedora: "Machine", ca: Path, host: str) -> None:
    """Docker Hub is refused under every name, because dockerd would ignore the file."""
    before = fedora.listing()
    refused = fedora.run(INSTALL, "install", "--file", str(ca), "--docker-only", "ghcr.io", host)
    assert (refused.returncode, fedora.listing()) == (1, before)
    assert "dockerd ignores" in refused.stderr


@pytest.mark.parametrize("host", ["../../x", "a/b", ".hidden", "a b", "$(id)"])
def test_docker_only_no_host(fedora: "Machine", ca: Path, host: str) -> None:
    """What is not a host never becomes a path."""
    before = fedora.listing()
    refused = fedora.run(INSTALL, "install", "--file", str(ca), "--docker-only", host)
    assert (refused.returncode, fedora.listing()) == (1, before)
    assert "want a host" in refused.stderr


def test_check(fedora: "Machine", ca: Path, authority: Authority) -> None:
    """Check shows where the certificate is, which it is and until when."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    checked = fedora.run(INSTALL, "check", "--file", str(ca))
    assert checked.returncode == 0
    day = f"{authority.expires:%Y-%m-%d}"
    assert f"{ANCHOR}: {authority.fingerprint}, expires {day}" in checked.stdout


def test_check_nothing(fedora: "Machine") -> None:
    """Where nothing is installed, check says so with status 1."""
    checked = fedora.run(INSTALL, "check")
    assert checked.returncode == 1
    assert f"{ANCHOR}: not installed" in checked.stdout


def test_check_another(fedora: "Machine", ca: Path) -> None:
    """Another certificate than the one asked for is status 1."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    checked = fedora.run(INSTALL, "check", "--fingerprint", "0" * 64)
    assert checked.returncode == 1
    assert "is not the certificate asked for" in checked.stdout


def test_check_bundle(fedora: "Machine", ca: Path) -> None:
    """A store that was not refreshed is status 1, with the command to run."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    fedora.write(BUNDLE, "company\n")
    checked = fedora.run(INSTALL, "check")
    assert checked.returncode == 1
    assert f"{BUNDLE}: does not hold it: run update-ca-trust" in checked.stdout


def test_check_expired(fedora: "Machine", tmp_path: Path) -> None:
    """An expired certificate is status 1, in docker's folders too."""
    expired = create(tmp_path / "old", now=NOW - timedelta(days=6 * 365)).certificate_pem
    fedora.write("/etc/docker/certs.d/ghcr.io/entrepot.crt", expired)
    checked = fedora.run(INSTALL, "check")
    assert checked.returncode == 1
    assert "expired on" in checked.stdout


@pytest.mark.parametrize(
    ("unit", "variables", "age", "wrong"),
    [
        ("docker", {}, 0, False),
        ("docker", {}, 3600, True),
        ("containerd", {"HTTPS_PROXY": "http://cache:3128"}, 3600, True),
        ("containerd", {}, 3600, False),
    ],
)
def test_check_daemons(
    fedora: "Machine", ca: Path, unit: str, variables: dict[str, str], age: int, *, wrong: bool
) -> None:
    """A daemon that was started before the certificate came does not trust it: status 1."""
    fedora.run(INSTALL, "install", "--file", str(ca))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=variables) as daemon:
        fedora.program("systemctl", f'[ "$4" != {unit} ] || echo MainPID={daemon.pid}')
        when = time.time() - 3600 + 2 * age
        os.utime(fedora.at(ANCHOR), (when, when))
        checked = fedora.run(INSTALL, "check")
        daemon.communicate()
    assert checked.returncode == wrong
    assert (f"systemctl restart {unit}" in checked.stdout) == wrong


def test_check_docker_only(fedora: "Machine", ca: Path) -> None:
    """Trust of docker's for one registry is no more than that; a folder for Docker Hub is wrong."""
    fedora.run(INSTALL, "install", "--file", str(ca), "--docker-only", "ghcr.io")
    checked = fedora.run(INSTALL, "check")
    assert checked.returncode == 0
    assert "docker trusts it for ghcr.io alone; Docker Hub is not cached" in checked.stdout
    fedora.write("/etc/docker/certs.d/docker.io/entrepot.crt", ca.read_bytes())
    checked = fedora.run(INSTALL, "check")
    assert checked.returncode == 1
    assert "docker.io/entrepot.crt: dockerd ignores it" in checked.stdout


def test_check_not_yet_valid(fedora: "Machine", ca: Path, tmp_path: Path) -> None:
    """Where this machine's clock is behind, no client trusts the certificate: status 1."""
    ca.write_bytes(create(tmp_path / "ahead", now=NOW + timedelta(days=30)).certificate_pem)
    refused = fedora.run(INSTALL, "install", "--file", str(ca))
    assert refused.returncode == 1
    assert "is not valid before" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("remove",),
        ("install",),
        ("install", "--url"),
        ("install", "--url", "http://a", "--file", "b"),
        ("install", "--file", "b", "--docker-only"),
        ("install", "--file", "b", "host.example"),
        ("uninstall", "--file", "b"),
    ],
)
def test_usage(fedora: "Machine", arguments: tuple[str, ...]) -> None:
    """A command line that makes no sense shows the usage, with status 2."""
    shown = fedora.run(INSTALL, *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage: " in shown.stderr
