"""The commands `entrepot` and `mitmdump -s addon/main.py`: what they say, and how they end."""

import ipaddress
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from entrepot.version import VERSION
from rig.images import ImageFactory
from rig.ports import free_port
from rig.process import clean_environment, eventually
from rig.proxy import ADDON, PYTHON, Runner, default_port
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

pytestmark = pytest.mark.unforked

Finished = subprocess.CompletedProcess[str]
MITMDUMP = "from mitmproxy.tools.main import mitmdump; mitmdump()"
RUNNERS: tuple[Runner, ...] = ("serve", "mitmdump")
MITMPROXYS = (
    "Loading script ",
    "roxy listening at ",
    "Error logged during startup, exiting...",
)
FINGERPRINT = r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}"


def run(folder: Path, argv: Sequence[str], **env: str) -> Finished:
    """Run a command that ends by itself."""
    return subprocess.run(
        [PYTHON, *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,
        env=clean_environment(folder, **env),
    )


def entrepot(folder: Path, *words: str, **env: str) -> Finished:
    return run(folder, ["-m", "entrepot.cli", *words], **env)


def serve(folder: Path, *words: str) -> Finished:
    listen = f"127.0.0.1:{free_port()}"
    return entrepot(folder, "serve", "--data", "data", "--listen", listen, *words)


def mitmdump(folder: Path, *settings: str) -> Finished:
    given = ["entrepot_data=data", *settings]
    if not any(setting.startswith("entrepot_listen=") for setting in given):
        given.append(f"entrepot_listen=127.0.0.1:{free_port()}")
    words = [word for setting in given for word in ("--set", setting)]
    with default_port():
        return run(folder, ["-c", MITMDUMP, "-s", str(ADDON), *words])


def complaint(finished: Finished, code: int = 1) -> str:
    """The one line that a failed start has to say, besides what mitmproxy says of itself."""
    assert finished.returncode == code, finished
    lines = (finished.stdout + finished.stderr).splitlines()
    (line,) = (line for line in lines if not any(own in line for own in MITMPROXYS))
    return line


def listening(pid: int) -> set[tuple[str, int]]:
    """The addresses on which a process listens."""
    links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    inodes = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    places = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                address, port = words[1].split(":")
                octets = bytes.fromhex(address)[::-1] if table == "tcp" else bytes(16)
                places.add((str(ipaddress.ip_address(octets)), int(port, 16)))
    return places


def test_the_version_is_one_line(tmp_path: Path) -> None:
    """That of the package, as pip and the user agent have it."""
    finished = entrepot(tmp_path, "--version")
    assert (finished.returncode, finished.stdout) == (0, f"entrepot {VERSION}\n")
    assert finished.stderr == ""
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", VERSION)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('sizee = "1GiB"', "unknown option 'sizee', did you mean 'size'?"),
        ('upstream-ca = "x"', "did you mean 'upstream_ca'?"),
        ('zzz = "1GiB"', "expected one of listen, mirror, data"),
        ('size = "much"', "size: expected a size such as 50GiB"),
        ("listen = 3128", "listen: expected text, got 3128"),
        ('only_listed = "yes"', "only_listed: expected true or false"),
        ("size = ", "is not a TOML file"),
    ],
)
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_wrong_config_file_is_one_clear_line(
    tmp_path: Path, runner: Runner, toml: str, said: str
) -> None:
    """An unknown key names its nearest neighbour, a wrong value what is accepted."""
    (tmp_path / "entrepot.toml").write_text(toml)
    if runner == "serve":
        line = complaint(serve(tmp_path, "--config", "entrepot.toml"))
    else:
        line = complaint(mitmdump(tmp_path, "entrepot_config=entrepot.toml"))
    assert said in line
    assert "entrepot.toml" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "0"), "size: expected a size"),
        (("--listen", "here"), "listen: expected :PORT or HOST:PORT"),
        (("--transparent", "3129"), "transparent: expected :PORT or HOST:PORT"),
        (("--resolve", "a:b"), "resolve: expected HOST:PORT:ADDR[:PORT]"),
        (("--listen", "3128"), "got '3128', did you mean ':3128'?"),
        (("--mirror", "5000=docker.io"), "got '5000=docker.io', did you mean ':5000=docker.io'?"),
        (("--registry", "a b"), "registry: "),
        (("--registry", "https://ghcr.io/"), "did you mean 'ghcr.io'?"),
        (("--allow-client", "10.1.0.5/16"), "got '10.1.0.5/16', did you mean '10.1.0.0/16'?"),
        (("--offline-private", "10.1.0.5/16"), "did you mean '10.1.0.0/16'?"),
        (("--permit", "*"), "permit: expected a DNS name"),
        (("--permit", "*.example.test"), "did you mean 'example.test'?"),
        (("--upstream-proxy", "ftp://alice:wonderland@x"), "upstream_proxy: expected http"),
        (("--upstream-ca", "missing.pem"), "missing.pem"),
        (("--config", "missing.toml"), "cannot read missing.toml"),
        (("--registry-config", "missing.yml"), "cannot read missing.yml"),
        (("--data", "/proc/1/nowhere"), "data folder '/proc/1/nowhere'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_one_clear_line(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """A value that cannot be used ends the start with status 1, and no secret is repeated."""
    line = complaint(serve(tmp_path, *words))
    assert said in line
    assert "wonderland" not in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "entrepot: error: missing command"),
        (("nothing",), "no such command 'nothing'"),
        (("serv",), "no such command 'serv', did you mean 'serve'?"),
        (("ca",), "entrepot ca: error: missing command"),
        (("serve", "--sizee", "1"), "no such option --sizee, did you mean '--size'?"),
        (("serve", "--size"), "option '--size' requires an argument"),
        (("serve", "here"), "(here)"),
        (("rm",), "entrepot rm: error: missing argument 'IMAGE...'"),
        (("ls", "-o", "xml"), "'xml' is not one of 'table', 'wide', 'json', 'yaml'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_is_status_2(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """Usage, where to read on, and then what is wrong, with what may have been meant."""
    finished = entrepot(tmp_path, *words)
    assert (finished.returncode, finished.stdout) == (2, "")
    usage, see, error = finished.stderr.splitlines()
    assert usage.startswith("usage: entrepot")
    assert see.startswith("see entrepot")
    assert "error: " in error
    assert said in error


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_port_in_use_ends_the_start(tmp_path: Path, runner: Runner) -> None:
    """A port that somebody else has is said in one line, and the status is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        if runner == "serve":
            finished = serve(tmp_path, "--listen", address)
        else:
            finished = mitmdump(tmp_path, f"entrepot_listen={address}")
    assert "address already in use" in complaint(finished)


def test_two_roads_need_two_ports(tmp_path: Path) -> None:
    """The same port for both, or one that stands in the other's way, is said before the start."""
    port = free_port()
    same = entrepot(tmp_path, "serve", "--listen", f":{port}", "--transparent", f":{port}")
    assert f"listen and transparent are both :{port}, want two ports" in complaint(same)
    words = ("--data", "data", "--listen", f"127.0.0.1:{port}", "--transparent", f":{port}")
    inside = complaint(entrepot(tmp_path, "serve", *words))
    assert inside.endswith(f"cannot listen on :{port}: address already in use; see --transparent")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("runner", RUNNERS)
def test_it_listens_for_redirected_clients_where_told(
    start_entrepot: "StartEntrepot", runner: Runner
) -> None:
    """Both roads at once, by either command; the ready line names each."""
    port = free_port()
    proxy = start_entrepot(runner=runner, transparent=f"127.0.0.1:{port}")
    said = f"listening on=127.0.0.1:{proxy.port} transparent=127.0.0.1:{port} data="
    eventually(lambda: said in proxy.log, what="said")
    assert listening(proxy.pid) == {("127.0.0.1", proxy.port), ("127.0.0.1", port)}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_ready_line_says_where_what_and_whose(
    start_entrepot: "StartEntrepot", runner: Runner
) -> None:
    """One line: address, data folder, limit and the fingerprint of the authority."""
    proxy = start_entrepot(runner=runner, size="2GiB")
    eventually(lambda: "listening" in proxy.log, what="said")
    (line,) = (line for line in proxy.log.splitlines() if " listening " in line)
    where = f"listening on=127.0.0.1:{proxy.port} data={proxy.data} limit=2.0GiB ca_sha256="
    assert re.search(rf" INFO {re.escape(where)}({FINGERPRINT})$", line)
    shown = entrepot(proxy.folder, "ca", "show", "--data", str(proxy.data)).stdout
    assert line.rpartition("=")[2] in shown


@pytest.mark.parametrize("runner", RUNNERS)
def test_it_listens_only_where_told(start_entrepot: "StartEntrepot", runner: Runner) -> None:
    """Nothing on any other address or port: mitmproxy's own default has gone."""
    proxy = start_entrepot(runner=runner)
    eventually(lambda: "listening" in proxy.log, what="ready")
    assert listening(proxy.pid) == {("127.0.0.1", proxy.port)}


def test_a_config_file_is_heard(start_entrepot: "StartEntrepot", folder: Path) -> None:
    """What the file says holds where the command line says nothing."""
    file = folder / "entrepot.toml"
    file.write_text('size = "3GiB"\ndata = "elsewhere"\n')
    proxy = start_entrepot(config=str(file))
    eventually(lambda: "limit=3.0GiB" in proxy.log, what="the limit of the file")
    assert proxy.data.is_dir()
    assert not (proxy.folder / "elsewhere").exists()


def test_mitmdump_runs_the_cache(
    start_entrepot: "StartEntrepot", upstreams: Upstreams, images: ImageFactory
) -> None:
    """`mitmdump -s addon/main.py` is the same proxy: the second pull is local."""
    image = images.image("mitmdump")
    upstreams.push(image, "hub.example.test/mitmdump:1")
    client = start_entrepot(runner="mitmdump").client()
    base = "https://hub.example.test/v2/mitmdump"
    for how in ("fwd=miss", "hit"):
        mark = upstreams.mark()
        assert client.manifest(f"{base}/manifests/1").body == image.root.body
        for blob in image.blobs:
            answer = client.get(f"{base}/blobs/{blob.digest}")
            assert (answer.body, how in answer.cache_status) == (blob.read(), True)
        client.await_stored(len(image.blobs))
    assert upstreams.requests(mark).blob_gets == ()


@pytest.mark.parametrize(
    "setting",
    [
        "ssl_insecure=true",
        "validate_inbound_headers=false",
        "store_streamed_bodies=true",
        "stickyauth=.*",
        "stickycookie=.*",
        "save_stream_file=flows",
        "hardump=flows.har",
        "emudhra=true",
        "emudhra_old=true",
        "mode=socks5",
        "mode=transparent",
    ],
)
def test_what_would_break_a_promise_is_refused(tmp_path: Path, setting: str) -> None:
    """Promises 1 and 2: mitmproxy's options cannot switch them off."""
    line = complaint(mitmdump(tmp_path, setting))
    assert "refusing to start with" in line
    assert setting.partition("=")[0] in line


def test_ca_create_makes_one_and_ca_show_shows_it(tmp_path: Path) -> None:
    """Path, fingerprint, expiry and constraints; a second one only by force, the old kept."""
    where = ("--data", "data")
    assert "there is no authority" in complaint(entrepot(tmp_path, "ca", "show", *where))
    made = entrepot(tmp_path, "ca", "create", *where)
    assert (made.returncode, made.stderr) == (0, "")
    assert "data/ca/mitmproxy-ca.pem" in made.stdout
    assert re.search(FINGERPRINT, made.stdout)
    assert "any name" in made.stdout
    assert entrepot(tmp_path, "ca", "show", *where).stdout == made.stdout
    assert "--force" in complaint(entrepot(tmp_path, "ca", "create", *where))
    forced = entrepot(tmp_path, "ca", "create", "--force", "--permit", "example.test", *where)
    assert (forced.returncode, "example.test" in forced.stdout) == (0, True)
    assert forced.stdout != made.stdout
    assert entrepot(tmp_path, "ca", "show", *where).stdout == forced.stdout
    assert len(list((tmp_path / "data/ca").iterdir())) == 2
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_environment_names_the_data_folder(tmp_path: Path) -> None:
    """ENTREPOT_DATA counts where --data is not given."""
    entrepot(tmp_path, "ca", "create", ENTREPOT_DATA="from-env")
    assert (tmp_path / "from-env/ca").is_dir()
    entrepot(tmp_path, "ca", "create", "--data", "given", ENTREPOT_DATA="from-env")
    assert (tmp_path / "given/ca").is_dir()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_mirror_of_the_proxy_itself_is_refused(tmp_path: Path, runner: Runner) -> None:
    """It would ask itself, and that again, without an end."""
    port = free_port()
    mirror = f"127.0.0.1:{port}=http://localhost:{port}"
    if runner == "serve":
        line = complaint(serve(tmp_path, "--mirror", mirror))
    else:
        line = complaint(mitmdump(tmp_path, f"entrepot_mirror={mirror}"))
    assert f"registry http://localhost:{port} is this proxy itself" in line


def test_a_mirrors_address_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mirror = f"127.0.0.1:{taken.getsockname()[1]}"
        line = complaint(serve(tmp_path, "--mirror", mirror))
    assert f"cannot listen on {mirror}: address already in use; see --mirror" in line
