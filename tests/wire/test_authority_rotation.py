"""The authority of a running proxy is replaced: who trusts both notices nothing, at no moment."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rig.client import Client
from rig.clients import Skopeo
from rig.images import ImageFactory
from rig.json_schema import problems
from rig.needs import need
from rig.process import clean_environment, eventually
from rig.proxy import PYTHON, Entrepot
from rig.route import Route
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HUB = "hub.example.test"
PING = f"https://{HUB}/v2/"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/healthz.schema.json").read_text())
NAME = f"{HUB}/rotated/app:1"


def ca(entrepot: Entrepot, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `entrepot ca …` on the proxy's folder."""
    return subprocess.run(
        [PYTHON, "-m", "entrepot.cli", "ca", *words, "--data", str(entrepot.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=entrepot.folder,
        env=clean_environment(entrepot.folder),
    )


def done(entrepot: Entrepot, *words: str) -> str:
    finished = ca(entrepot, *words)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def rotation(entrepot: Entrepot) -> dict[str, Any] | None:
    """What `/healthz` says of one, by its schema."""
    health = entrepot.local("/healthz").json()
    assert list(problems(health, SCHEMA)) == []
    authority = health["authority"]
    assert isinstance(authority, dict)
    found: dict[str, Any] | None = authority["rotation"]
    return found


def listening(entrepot: Entrepot) -> str:
    """The line of its last start."""
    return [line for line in entrepot.log.splitlines() if "listening" in line][-1]


@dataclass(frozen=True, slots=True)
class Roots:
    """What a client may trust, each in a file."""

    old: Path
    new: Path
    both: Path

    @classmethod
    def of(cls, entrepot: Entrepot, folder: Path) -> "Roots":
        """Those of a proxy that has announced a successor."""
        found = x509.load_pem_x509_certificates(entrepot.ca_pem)
        old, new = (one.public_bytes(Encoding.PEM) for one in found)
        files = cls(folder / "old.pem", folder / "new.pem", folder / "both.pem")
        files.old.write_bytes(old)
        files.new.write_bytes(new)
        files.both.write_bytes(entrepot.ca_pem)  # as it comes
        return files


_sources = iter(range(2, 250))


def python(entrepot: Entrepot, trusted: Path) -> bool:
    """With OpenSSL; as all of these from an address of its own, since refusals count there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trusted)
    client = Client(entrepot.port, context, source=f"127.0.1.{next(_sources)}")
    try:
        return "entrepot" in client.get(PING).cache_status
    except ssl.SSLCertVerificationError:
        return False


def curl(entrepot: Entrepot, trusted: Path) -> bool:
    need("curl")
    words = ("-qsS", "--proxy", entrepot.url, "--interface", f"127.0.2.{next(_sources)}")
    return succeeds("curl", *words, "--noproxy", "", "--cacert", str(trusted), PING)


def wget(entrepot: Entrepot, trusted: Path) -> bool:
    """With GnuTLS."""
    need("wget")
    words = ("-q", "--no-config", "-t", "1", f"--bind-address=127.0.3.{next(_sources)}")
    proxy = ("-e", f"https_proxy={entrepot.url}", f"--ca-certificate={trusted}", "-O", "/dev/null")
    # Status 6 or 8 is an answer that is an error; 5 is a certificate that is not trusted.
    return run("wget", *words, *proxy, PING) in {0, 6, 8}


def run(*words: str) -> int:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    ).returncode


def succeeds(*words: str) -> bool:
    return run(*words) == 0


def skopeo(entrepot: Entrepot, trusted: Path) -> bool:
    """With Go's library, as all engines; all of it pulled."""
    need("skopeo")
    client = Skopeo(trusted.parent / "skopeo", Route(entrepot.url, trusted))
    try:
        return client.pull(NAME).returncode == 0
    finally:
        client.stop()


@contextmanager
def traffic(entrepot: Entrepot, trusted: Path) -> Iterator[Callable[[], int]]:
    """Have two clients ask all the time, each time by a new connection; gives how often they did.

    Fails where one of their requests did.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trusted)
    stopped, asked, failures = threading.Event(), [0, 0], list[object]()

    def ask(number: int) -> None:
        client = Client(entrepot.port, context, source=f"127.0.9.{number + 1}")
        if number == 0:  # the successor signs for one, the predecessor for the other
            client.get(f"{entrepot.url}/ca.pem")
        while not stopped.is_set() and not failures:
            try:
                answer = client.manifest(f"https://{HUB}/v2/rotated/app/manifests/1")
                if answer.status != 200:
                    failures.append(answer.status)
            except OSError as error:
                failures.append(error)
            asked[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(asked)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failures == []


def more(asked: Callable[[], int], by: int = 20) -> None:
    """Wait until so many more requests were answered."""
    goal = asked() + by
    eventually(lambda: asked() >= goal, what=f"{by} requests of the others")


def test_a_rotation_under_traffic(
    entrepot: Entrepot, upstreams: Upstreams, images: ImageFactory, folder: Path
) -> None:
    """Announced, who has the old one or both works; switched, who has the new one or both does.

    Those with but one are strangers to the proxy: each comes from an address of its own.
    """
    upstreams.push(images.image("rotated"), NAME)
    before = entrepot.ca_pem
    assert rotation(entrepot) is None
    told = done(entrepot, "rotate", "--in", "1d")
    roots = Roots.of(entrepot, folder)
    assert roots.old.read_bytes() == before
    found = rotation(entrepot)
    assert found is not None
    assert (found["phase"], found["clients"]) == ("announced", 0)
    assert found["successor"] in told
    assert f"authority_announced ca_sha256={found['successor']}" in entrepot.log
    with traffic(entrepot, roots.both) as asked:
        more(asked)
        for client in (python, curl, wget):
            held = [client(entrepot, one) for one in (roots.old, roots.both, roots.new)]
            assert held == [True, True, False], client
        assert skopeo(entrepot, roots.old)
        assert skopeo(entrepot, roots.both)
        done(entrepot, "rotate", "--now", "--force")
        assert f"authority_switched ca_sha256={found['successor']}" in entrepot.log
        more(asked)
        for client in (python, curl, wget):
            held = [client(entrepot, one) for one in (roots.old, roots.both, roots.new)]
            assert held == [False, True, True], client
        assert skopeo(entrepot, roots.new)
        assert skopeo(entrepot, roots.both)
    assert not skopeo(entrepot, roots.old)
    after = rotation(entrepot)
    assert after is not None
    assert after["phase"] == "switched"
    first, second = x509.load_pem_x509_certificates(entrepot.ca_pem)
    assert first.public_bytes(Encoding.PEM) == roots.new.read_bytes()
    assert second.public_bytes(Encoding.PEM) == roots.old.read_bytes()
    entrepot.restart()
    assert python(entrepot, roots.new)
    assert f"ca_sha256={found['successor']}" in listening(entrepot)


def test_it_is_known_who_has_not_fetched(entrepot: Entrepot, folder: Path) -> None:
    """Who pulls without having fetched the successor is named, and --now refuses for that."""
    done(entrepot, "rotate")
    roots = Roots.of(entrepot, folder)
    context = ssl.create_default_context(cafile=roots.old)
    one = Client(entrepot.port, context, source="127.0.0.21")
    other = Client(entrepot.port, context, source="127.0.0.22")
    other.get(f"{entrepot.url}/ca.pem?check")  # to look is not to fetch
    one.get(PING)
    other.get(PING)
    found = rotation(entrepot)
    assert found is not None
    assert {row["client"] for row in found["waiting_clients"]} == {"127.0.0.21", "127.0.0.22"}
    refused = ca(entrepot, "rotate", "--now")
    assert refused.returncode == 1
    assert "2 clients may not trust the successor yet" in refused.stderr
    assert "127.0.0.21, last seen " in refused.stdout
    one.get(f"{entrepot.url}/ca.pem")
    shown = done(entrepot, "show")
    assert "2 seen lately, 1 of them have not fetched the successor" in shown
    assert "127.0.0.22, last seen " in shown
    # All of that outlives the process, and a start says that it is under way.
    entrepot.restart()
    assert (
        f"authority_rotating ca_sha256={found['successor']}" in entrepot.log.split("listening")[1]
    )
    kept = rotation(entrepot)
    assert kept is not None
    assert [row["client"] for row in kept["waiting_clients"]] == ["127.0.0.22"]
    other.get(f"{entrepot.url}/ca.pem")
    done(entrepot, "rotate", "--now")
    assert (entrepot.data / "authority-clients.json").stat().st_mode & 0o777 == 0o600


def test_who_is_not_ready_is_signed_for_by_the_predecessor(
    entrepot: Entrepot, folder: Path
) -> None:
    """Who was seen and has not fetched loses nothing by the switch; others one handshake at most.

    Only who refuses both is one that does not trust the proxy.
    """
    done(entrepot, "rotate")
    roots = Roots.of(entrepot, folder)
    by_old = ssl.create_default_context(cafile=roots.old)
    by_new = ssl.create_default_context(cafile=roots.new)

    def is_cached(client: Client) -> bool:
        return "entrepot" in client.get(PING).cache_status

    known = Client(entrepot.port, by_old, source="127.0.0.31")
    assert is_cached(known)
    done(entrepot, "rotate", "--now", "--force")
    assert is_cached(known)
    found = rotation(entrepot)
    assert found is not None
    assert [row["client"] for row in found["waiting_clients"]] == ["127.0.0.31"]
    for source, context in (("127.0.0.31", by_new), ("127.0.0.32", by_old)):
        client = Client(entrepot.port, context, source=source)
        refuse(client, entrepot)
        assert is_cached(client)
    assert "next connection is signed for by the predecessor" in entrepot.log
    assert "next connection is signed for by the successor" in entrepot.log
    known.get(f"{entrepot.url}/ca.pem")
    new = Client(entrepot.port, by_new, source="127.0.0.31")
    assert is_cached(new)
    assert entrepot.local("/healthz").json()["untrusting_clients"] == []
    stranger = entrepot.stranger()
    refuse(stranger, entrepot)
    refuse(stranger, entrepot)
    eventually(lambda: "tunnelled for 10min" in entrepot.log, what="the tunnel")
    assert entrepot.local("/healthz").json()["untrusting_clients"] != []


def refuse(client: Client, entrepot: Entrepot) -> None:
    """Do a handshake as a client that does not trust the authority, until that is noticed."""
    before = entrepot.counter("handshake_failed")
    with pytest.raises(ssl.SSLCertVerificationError):
        client.certificate(HUB)
    eventually(lambda: entrepot.counter("handshake_failed") > before, what="the refusal noticed")


def test_it_switches_by_itself(entrepot: Entrepot, folder: Path) -> None:
    """At the date, in the proxy that runs."""
    old = entrepot.ca_pem
    done(entrepot, "rotate", "--in", "2s")
    eventually(lambda: "authority_switched" in entrepot.log, what="the switch")
    first = x509.load_pem_x509_certificates(entrepot.ca_pem)[0].public_bytes(Encoding.PEM)
    assert first != old
    (folder / "first.pem").write_bytes(first)
    assert python(entrepot, folder / "first.pem")


def test_what_was_down_at_the_date_starts_with_the_successor(
    entrepot: Entrepot, folder: Path
) -> None:
    """A kill in the middle changes nothing; the date passes, and the next start does it."""
    old = entrepot.ca_pem
    entrepot.kill9()
    done(entrepot, "rotate")
    entrepot.start()
    found = rotation(entrepot)
    assert found is not None
    assert found["phase"] == "announced"
    entrepot.kill9()
    done(entrepot, "rotate", "--in", "0.001s")
    entrepot.start()
    roots = Roots.of(entrepot, folder)
    assert roots.old.read_bytes() != old  # the first of both, which signs now
    assert python(entrepot, roots.old)
    assert f"ca_sha256={found['successor']}" in listening(entrepot)
    assert f"authority_switched ca_sha256={found['successor']}" in entrepot.log


@pytest.mark.parametrize("runner", ["serve", "mitmdump"])
def test_it_can_be_undone(start_entrepot: "StartEntrepot", runner: str) -> None:
    """Then nothing was; under mitmdump too."""
    entrepot = start_entrepot(runner="mitmdump" if runner == "mitmdump" else "serve")
    before = entrepot.ca_pem
    done(entrepot, "rotate")
    assert len(x509.load_pem_x509_certificates(entrepot.ca_pem)) == 2
    done(entrepot, "rotate", "--abort")
    assert entrepot.ca_pem == before
    assert "rotation_aborted" in entrepot.log
    assert [path.name for path in (entrepot.data / "ca").glob("*ca.pem")] == ["mitmproxy-ca.pem"]
    again = ca(entrepot, "rotate", "--abort")
    assert again.returncode == 1
    assert "no rotation is under way" in again.stderr
    done(entrepot, "rotate")
    done(entrepot, "rotate", "--now")
    assert x509.load_pem_x509_certificates(entrepot.ca_pem)[1].public_bytes(Encoding.PEM) == before


@pytest.mark.parametrize("damage", ["{", '{"switch": 1}'])
def test_damage_stops_no_proxy(start_entrepot: "StartEntrepot", folder: Path, damage: str) -> None:
    """It signs as before, says what is wrong, and --abort mends it."""
    data = folder / "damaged"
    (data / "ca").mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    (data / "ca" / "rotation.json").write_text(damage)
    entrepot = start_entrepot(data=str(data))
    assert "rotation_failed" in entrepot.log
    assert len(x509.load_pem_x509_certificates(entrepot.ca_pem)) == 1
    done(entrepot, "rotate", "--abort")
    done(entrepot, "rotate")
    assert len(x509.load_pem_x509_certificates(entrepot.ca_pem)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until", "soon"), "expected a date such as 2026-12-28"),
        (("--in", "soon"), "expected a duration such as 30d"),
        (("--in", "3d", "--now"), "exclude each other"),
        (("--force",), "--force goes with --now"),
    ],
)
def test_a_wrong_line_is_status_2(entrepot: Entrepot, words: tuple[str, ...], message: str) -> None:
    """And changes nothing."""
    finished = ca(entrepot, "rotate", *words)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert rotation(entrepot) is None


def test_dates_that_cannot_be(entrepot: Entrepot) -> None:
    """The past, and after the end of the one in use."""
    for date in ("2020-01-01", "2090-01-01T00:00Z"):
        finished = ca(entrepot, "rotate", "--until", date)
        assert finished.returncode == 1
        assert "the date must be after now and before" in finished.stderr
    finished = ca(entrepot, "rotate", "--now")
    assert finished.returncode == 1
    assert "no rotation is under way" in finished.stderr


def test_exports(entrepot: Entrepot, folder: Path) -> None:
    """Certificates in each form, never a key; a file that everybody may read."""
    one = entrepot.ca_pem
    assert done(entrepot, "export") == one.decode()
    refused = ca(entrepot, "export", "--format", "der", "--successor", "-o", str(folder / "x"))
    assert refused.returncode == 1
    done(entrepot, "rotate")
    both = entrepot.ca_pem
    files = {}
    for name, words in {
        "pem": (),
        "der": ("--format", "der"),
        "next": ("--format", "der", "--successor"),
        "p7b": ("--format", "p7b"),
    }.items():
        files[name] = folder / name
        done(entrepot, "export", *words, "-o", str(files[name]))
        assert files[name].stat().st_mode & 0o777 == 0o644
        assert b"PRIVATE" not in files[name].read_bytes()
    assert files["pem"].read_bytes() == both
    old, new = x509.load_pem_x509_certificates(both)
    assert x509.load_der_x509_certificate(files["der"].read_bytes()) == old
    assert x509.load_der_x509_certificate(files["next"].read_bytes()) == new
    command = ("openssl", "pkcs7", "-inform", "der", "-in", str(files["p7b"]), "-print_certs")
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    assert set(x509.load_pem_x509_certificates(printed)) == {old, new}


def test_show_for_programs(entrepot: Entrepot) -> None:
    """The same as /healthz says, running or not."""
    done(entrepot, "rotate")
    told = json.loads(done(entrepot, "show", "--json"))
    assert told == entrepot.local("/healthz").json()["authority"]
    entrepot.terminate()
    assert json.loads(done(entrepot, "show", "--json")) == told
