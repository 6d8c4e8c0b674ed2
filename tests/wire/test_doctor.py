"""`entrepot doctor`: what is well, what is not, and the fix; it changes nothing."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig.entrepot_command import document, entrepot
from rig.faults import FaultServer, status
from rig.images import ImageFactory
from rig.ports import free_port
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

HOST = "fault.example.test"
Found = dict[str, list[dict[str, Any]]]


def words(upstreams: Upstreams, resolve: Sequence[str], data: Path) -> list[str]:
    """The settings of a proxy that knows one registry."""
    given = ["--data", str(data), "--only-listed", "--registry", HOST]
    given += ["--upstream-ca", str(upstreams.authority.pem)]
    return given + [word for one in resolve for word in ("--resolve", one)]


def by_subject(told: dict[str, Any]) -> Found:
    found: Found = {}
    for one in told["findings"]:
        found.setdefault(one["about"], []).append(one)
    return found


def levels(found: Found) -> dict[str, list[str]]:
    return {about: [one["level"] for one in all_of] for about, all_of in found.items()}


def test_a_proxy_that_is_well(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    faults: FaultServer,
    images: ImageFactory,
) -> None:
    """Everything is looked at, and a registry asked through it: no problem, so the status is 0."""
    proxy = start_entrepot(only_listed=True, registry=[HOST])
    faults.publish(images.multi_arch("doctor"), "acme/app", "1")
    given = words(upstreams, faults.resolve, proxy.data)
    told = document(proxy.folder, "doctor", "doctor", *given, "--image", f"{HOST}/acme/app:1")
    found = by_subject(told)
    assert (told["problems"], told["warnings"]) == (0, 0), found
    assert levels(found) == {
        "settings": ["ok"],
        "data folder": ["ok"],
        "disk": ["ok"],
        "ports": ["ok"],
        "authority": ["ok"],
        "trust": ["note"],
        "DNS": ["ok"],
        "registries": ["ok"],
        "clock": ["ok"],
        "proxy": ["ok"],
        "request": ["ok"],
        "pull": ["ok"],
    }
    assert found["pull"][0]["said"].endswith("and again from the cache")
    assert found["request"][0]["said"] == f"{HOST} answers through it, by its certificate"
    printed = entrepot(proxy.folder, "doctor", *given)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout.endswith("all is well\n")


def test_a_registry_in_trouble_and_clients_without_the_ca(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer
) -> None:
    """Each finding says what to do about it, and the status is 1."""
    proxy = start_entrepot(only_listed=True, registry=[HOST])
    with contextlib.suppress(OSError):
        proxy.stranger().get(f"https://{HOST}/v2/")
    faults.routes["/v2/"] = status(503)
    given = [*words(upstreams, faults.resolve, proxy.data), "--image", f"{HOST}/acme/none:1"]
    found = by_subject(document(proxy.folder, "doctor", "doctor", *given, code=1))
    assert found["pull"][0]["said"].endswith("manifests/1 is answered with 404")
    assert [one["level"] for one in found["registries"]] == ["problem"]
    assert found["registries"][0]["said"] == f"{HOST} answers 503"
    assert "127.0.0.1 does not trust the CA" in found["clients"][0]["said"]
    assert "install" in found["clients"][0]["fix"]


def test_where_nothing_runs_and_little_is_right(
    tmp_path: Path, upstreams: Upstreams, faults: FaultServer
) -> None:
    """No proxy, a taken port, a folder open to others, an unreachable registry."""
    data, port = tmp_path / "data", free_port()
    assert entrepot(tmp_path, "ca", "create", "--data", data).returncode == 0
    data.chmod(0o755)
    (data / "ca/mitmproxy-ca.pem").chmod(0o644)
    nowhere = [f"{HOST}:443:127.0.0.1:{port}"]
    given = [*words(upstreams, nowhere, data), "--listen", f"127.0.0.1:{faults.port}"]
    told = document(tmp_path, "doctor", "doctor", *given, code=1)
    found = by_subject(told)
    assert [one["level"] for one in found["proxy"]] == ["problem"]
    assert "address already in use" in found["ports"][0]["said"]
    assert found["data folder"][0]["fix"] == f"chmod 700 {data}"
    assert "connection refused" in found["registries"][0]["said"].lower()
    assert "others can read or change the key" in found["authority"][0]["said"]
    assert told["problems"] == 4
    assert found["clock"][0]["level"] == "note"


def test_settings_that_cannot_be_used_are_all_it_can_say(tmp_path: Path) -> None:
    file = tmp_path / "entrepot.toml"
    file.write_text('sizee = "1GiB"\n')
    told = document(tmp_path, "doctor", "doctor", "--config", file, code=1)
    (finding,) = told["findings"]
    assert finding["said"].startswith(f"{file}:1: unknown option 'sizee'")
    assert finding["fix"] == "see `entrepot config check`"


def test_a_lost_authority_is_found(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, faults: FaultServer
) -> None:
    proxy = start_entrepot(only_listed=True, registry=[HOST])
    shutil.rmtree(proxy.data / "ca")
    (proxy.data / "ca").mkdir()
    given = words(upstreams, faults.resolve, proxy.data)
    found = by_subject(document(proxy.folder, "doctor", "doctor", *given, code=1))
    assert found["authority"][0]["level"] == "problem"
