"""What the README says is there is there: options, files, commands, events, modules."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from entrepot.auth.accounts import Accounts
from entrepot.config.options import OPTIONS, Option
from entrepot.config.settings import Config
from entrepot.protocol.identifiers import Origin
from test_layers import PACKAGE, ROOMS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("addon", "ca/entrepot_ca")
    for path in sorted((ROOT / folder).rglob("*.py"))
)
CODE = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
SPANS = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
FOLDERS = ("addon", "ca", "scripts", "tests", ".ci", ".")
IN_DATA = {"ca", "ca/mitmproxy-ca.pem"}
OTHERS_OPTIONS = {
    "--fingerprint",  # ca/install.sh
    "--url",
    "--docker-only",
    "--unit",  # scripts/docker-proxy.sh
    "--from",  # scripts/redirect.sh
    "--local",
    "--registry-port",
    "--user",
    "--force",  # entrepot ca create
    "--hosts-dir",  # ctr
    "--listen-port",  # mitmdump
    "--fast",  # scripts/test
    "--rounds",  # scripts/bench
    "--json",
    "--fuzz-requests",  # pytest, in tests/attack
}


def _row(option: Option) -> str:
    said = f"{option.flag} {option.metavar}".strip()
    repeatable = "; repeatable" if option.kind == "repeatable" else ""
    return f"| `{said}` | `{option.mitmproxy}` | {option.help}{repeatable} |"


def _table(header: str) -> list[str]:
    rows = README.partition(header)[2].split("\n\n", 1)[0]
    return rows.strip().splitlines()[1:]


def test_the_options_are_those_of_the_code() -> None:
    """The table has a row for each option, in its words."""
    assert _table("| command line | mitmproxy | meaning |") == [_row(o) for o in OPTIONS]


def test_every_option_named_exists() -> None:
    named = {word for span in SPANS for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)}
    ours = {option.flag for option in OPTIONS}
    assert named - ours <= OTHERS_OPTIONS
    assert ours <= named


def _files() -> set[str]:
    words = [w for text in [*SPANS, *(code for _, code in CODE)] for w in text.split()]
    words += [f"./{link}" for link in re.findall(r"\]\(([^):#]+)\)", README)]
    words = [word.removeprefix("/opt/entrepot/") for word in words]
    return {word for word in words if word.partition("/")[0] in FOLDERS and word not in IN_DATA}


@pytest.mark.parametrize("name", sorted(_files()))
def test_every_file_named_exists(name: str) -> None:
    assert list(ROOT.glob(name.removeprefix("./")))


def test_scripts_take_the_options_named() -> None:
    """What the README has clients type is what the scripts' own help says."""
    install = (ROOT / "ca/install.sh").read_text(encoding="utf-8")
    docker = (ROOT / "scripts/docker-proxy.sh").read_text(encoding="utf-8")
    redirect = (ROOT / "scripts/redirect.sh").read_text(encoding="utf-8")
    for word in ("install", "check", "uninstall", "--from", "--registry-port", "--local", "--user"):
        assert word in redirect
    for word in ("install", "check", "uninstall", "--url", "--fingerprint", "--docker-only"):
        assert word in install
    for word in ("install", "check", "uninstall", "--unit"):
        assert word in docker
    containerd = (ROOT / "scripts/containerd-mirror.sh").read_text(encoding="utf-8")
    for word in ("install", "check", "uninstall", "/etc/containerd/certs.d", "_default/hosts.toml"):
        assert word in containerd


@pytest.mark.parametrize(
    "words",
    sorted({tuple(s.split()) for s in SPANS if re.match(r"entrepot (ca|serve)\b", s)}),
    ids=" ".join,
)
def test_every_command_named_exists(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "entrepot.cli", *words[1:], "--help"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_the_file_is_a_configuration(tmp_path: Path) -> None:
    _, example = (text for kind, text in CODE if kind == "toml")
    file = tmp_path / "entrepot.toml"
    file.write_text(example)
    config = Config.load({"config": str(file)}, {}, tmp_path, False)  # noqa: FBT003
    assert {name: getattr(config, name) for name in tomllib.loads(example)}.keys() <= {
        option.name for option in OPTIONS
    }
    assert config.size == 500 * 2**30


def test_the_accounts_are_a_configuration(tmp_path: Path) -> None:
    example, _ = (text for kind, text in CODE if kind == "toml")
    secret, file = tmp_path / "secret", tmp_path / "entrepot.toml"
    secret.write_text("x")
    file.write_text(example.replace("/etc/entrepot/docker-hub", str(secret)))
    config = Config.load({"config": str(file)}, {"ACME_PASSWORD": "x"}, tmp_path, False)  # noqa: FBT003
    accounts = Accounts(config.accounts)
    hub, other = (f"https://{host}" for host in ("index.docker.io", "registry.example.com:5000"))
    found = [
        accounts.of(Origin.parse(origin), name, client)
        for origin, name, client in (
            (hub, "library/redis", "10.1.2.3"),
            (hub, "library/redis", "10.2.2.3"),
            (other, "acme/app", "10.2.2.3"),
            (other, "acmecorp/app", "10.2.2.3"),
        )
    ]
    assert [one and one.username for one in found] == ["fleet", None, "robot", None]


def test_every_event_named_is_logged() -> None:
    events = [s for s in SPANS if re.fullmatch(r"[a-z]+_[a-z]+", s) and s not in _not_events()]
    assert "certificate_refused" in events
    assert [event for event in events if f'"{event}"' not in SOURCE] == []


def _not_events() -> set[str]:
    ours = {name for option in OPTIONS for name in (option.name, option.mitmproxy)}
    return ours | {"https_proxy", "ca_sha256", "block_global", "ssl_bump", "ssl_insecure"}


def test_every_cache_status_is_one_of_ours() -> None:
    """Each part of each value in the table stands in the code."""
    for span in (s for s in SPANS if s.startswith("entrepot; ")):
        for part in span.split("; ")[1:]:
            text = part.replace("=401", "=").replace("detail=tags", "detail=")
            assert f'"{text}' in SOURCE, part


def test_the_rooms_are_those_of_the_code() -> None:
    """The architecture has every folder with its sentence and its modules."""
    assert _table("| in `addon/entrepot/` | what | modules |") == [
        row for room in ROOMS for row in _room(PACKAGE / room)
    ]


def _room(folder: Path) -> list[str]:
    if not folder.is_dir():
        return _rows(folder.with_suffix(".py"), "")
    inner = [one for one in sorted(folder.iterdir()) if (one / "__init__.py").exists()]
    modules = [one.stem for one in sorted(folder.glob("*.py")) if not one.stem.startswith("__")]
    return [
        *_rows(folder / "__init__.py", ", ".join(f"`{name}.py`" for name in modules)),
        *(row for one in inner for row in _room(one)),
    ]


def _rows(file: Path, modules: str) -> list[str]:
    sentence = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
    name = str((file.parent if file.stem == "__init__" else file).relative_to(PACKAGE))
    name += "/" if file.stem == "__init__" else ""
    return [f"| `{name}` | {sentence.replace('``', '`')} | {modules} |"]
