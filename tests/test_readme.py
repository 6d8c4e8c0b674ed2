"""What the documentation says is there is there: options, files, commands, events, promises, links.

A part that the code writes (``docs.generated``) is compared as a whole; ``scripts/docs`` mends it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs import commands
from docs.generated import BLOCKS, FILES
from docs.pages import CONTRIBUTING, DOCS, LINKED, PAGES, README, ROOT, Page
from entrepot.auth.accounts import Accounts
from entrepot.cli.commands import COMMANDS
from entrepot.config.load import load_config
from entrepot.config.options import OPTIONS
from entrepot.events.counters import Counter
from entrepot.events.fields import EventFields
from entrepot.events.table import Event
from entrepot.metrics.metrics import FAMILIES
from entrepot.protocol.identifiers import Origin
from rig.needs import need
from rig.process import PATH

SOURCE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("addon", "ca/entrepot_ca")
    for path in sorted((ROOT / folder).rglob("*.py"))
)
SPANS = [span for page in PAGES for span in page.spans]
FOLDERS = ("addon", "ca", "deploy", "docs", "scripts", "tests", ".ci", ".")
IN_DATA = {"ca", "ca/mitmproxy-ca.pem", "ca/previous-ca.pem"}
OTHERS_OPTIONS = {
    "--fingerprint",  # ca/install.sh
    "--url",
    "--docker-only",
    "--unit",  # scripts/docker-proxy.sh
    "--no-proxy",
    "--image",
    "--trust-on-first-use",  # /setup
    "--for",
    "--no-restart",
    "--proxy",
    "--uninstall",
    "--driver-opt",  # docker buildx create
    "--build-arg",  # docker build
    "--format",  # podman build
    "--compression-format",  # podman push
    "--estargz",  # ctr-remote
    "--network",  # docker run
    "--from",  # scripts/redirect.sh
    "--local",
    "--registry-port",
    "--user",
    "--hosts-dir",  # ctr
    "--listen-port",  # mitmdump
    "--set",
    "--fast",  # scripts/test
    "--rounds",  # scripts/bench
    "--check",  # ruff format
    "--fuzz-requests",  # pytest, in tests/attack
}
COMMAND = re.compile(
    rf"entrepot ({'|'.join(sorted({row.name.partition(' ')[0] for row in COMMANDS}))})\b"
)
METRICS = {family.name for family in FAMILIES}
TEST_ID = re.compile(r"tests/[\w/]+\.py::\w+")
"""A test, as pytest names it."""


def _id(page: Page) -> str:
    return str(page.path)


# The front door


def test_the_readme_is_a_front_door() -> None:
    assert len(README.text.splitlines()) <= 200


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in README.links}
    assert {str(page.path) for page in (CONTRIBUTING, *DOCS.values())} <= linked


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    """A row of the README has the cells of the row of that name, for the columns that it has."""
    columns, rows = _benchmarks(DOCS["benchmarks"])
    ours, few = _benchmarks(README)
    assert {name: dict(zip(ours, row, strict=True)) for name, row in few.items()} == {
        name: {column: dict(zip(columns, rows[name], strict=True))[column] for column in ours}
        for name in few
    }


def _benchmarks(page: Page) -> tuple[list[str], dict[str, list[str]]]:
    (header,) = re.findall(r"^\| \|.* target \|$", page.text, re.MULTILINE)
    rows = page.table(header)
    return header.strip("|").split(" | ")[1:], {row[0]: row[1:] for row in rows}


# Links and files


@pytest.mark.parametrize("page", LINKED, ids=_id)
def test_every_link_leads_somewhere(page: Page) -> None:
    """The file is there, and the heading in it."""
    assert list(_broken(page)) == []


def _broken(page: Page) -> Iterator[str]:
    for link in page.links:
        name, _, anchor = link.partition("#")
        path = Path((page.path.parent / name).as_posix()) if name else page.path
        target = Page((ROOT / path).resolve().relative_to(ROOT))
        if not (ROOT / target.path).exists() or (anchor and anchor not in target.anchors):
            yield link


def _files() -> set[str]:
    texts = [*SPANS, *(code for page in PAGES for _, code in page.code)]
    words = [word for text in texts for word in text.split()]
    words = [word.removeprefix("/opt/entrepot/").rstrip(",;") for word in words]
    return {
        word.partition("::")[0]
        for word in words
        if word.partition("/")[0] in FOLDERS and word not in {*IN_DATA, "."}
    }


@pytest.mark.parametrize("name", sorted(_files()))
def test_every_file_named_exists(name: str) -> None:
    assert list(ROOT.glob(name.removeprefix("./")))


@pytest.mark.parametrize("row", CONTRIBUTING.table("| you look for | it is in | named |"))
def test_what_one_looks_for_is_where_it_is_said_to_be(row: list[str]) -> None:
    """The file has a class, a function or a constant of that name."""
    _, files, names = (re.findall(r"`([^`]+)`", cell) for cell in row)
    assert len(files) == len(names) > 0
    for file, name in zip(files, names, strict=True):
        code = [one for top in ("addon", "ca") for one in (ROOT / top).rglob("*.py")]
        having = [one for one in code if name in _defined(one)]
        assert ROOT / file in having, f"{file} has no {name}; these have: {having}"


@cache
def _defined(file: Path) -> set[str]:
    """Every name that a file defines."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in nodes if isinstance(node, kinds)} | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


# Promises


def test_every_promise_is_proved() -> None:
    """Each names tests that exist."""
    promises = re.split(r"^## ", DOCS["promises"].text, flags=re.MULTILINE)[1:]
    assert [promise[:2] for promise in promises] == [f"{n}." for n in range(1, 10)]
    for promise in promises:
        tests = TEST_ID.findall(promise)
        assert tests, promise.splitlines()[0]
        for file, _, name in (test.partition("::") for test in tests):
            assert name in _defined(ROOT / file), f"{file} has no {name}"


def test_every_promise_cited_is_one() -> None:
    """What modules and tests call promise N."""
    texts = [SOURCE, *(file.read_text() for file in (ROOT / "tests").rglob("*.py"))]
    cited = {n for text in texts for n in re.findall(r"(?i)\bpromise ([0-9]+)", text)}
    assert cited <= set("123456789")


# Options


def test_every_option_named_exists() -> None:
    named = {word for span in SPANS for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)}
    ours = {option.flag for option in OPTIONS}
    assert named - ours - commands.flags() <= OTHERS_OPTIONS
    assert ours <= named


def test_scripts_take_the_options_named() -> None:
    """What the pages have clients type is what the scripts' own help says."""
    install = (ROOT / "ca/install.sh").read_text(encoding="utf-8")
    docker = (ROOT / "scripts/docker-proxy.sh").read_text(encoding="utf-8")
    redirect = (ROOT / "scripts/redirect.sh").read_text(encoding="utf-8")
    for word in ("install", "check", "uninstall", "--from", "--registry-port", "--local", "--user"):
        assert word in redirect
    for word in ("install", "check", "uninstall", "--url", "--fingerprint", "--docker-only"):
        assert word in install
    for word in ("install", "check", "uninstall", "--unit", "--no-proxy", "--image"):
        assert word in docker
    setup = (ROOT / "addon/entrepot/endpoints/setup/texts/setup.sh").read_text(encoding="utf-8")
    for word in ("--fingerprint", "--trust-on-first-use", "--for", "--no-proxy", "--image"):
        assert word in setup
    for word in ("--no-restart", "--proxy", "--dry-run", "--check", "--uninstall"):
        assert word in setup
    containerd = (ROOT / "scripts/containerd-mirror.sh").read_text(encoding="utf-8")
    for word in ("install", "check", "uninstall", "/etc/containerd/certs.d", "_default/hosts.toml"):
        assert word in containerd


@pytest.mark.parametrize(
    "words",
    sorted({tuple(s.split()) for s in SPANS if COMMAND.match(s)}),
    ids=" ".join,
)
def test_every_command_named_exists(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "entrepot.cli.main", *words[1:], "--help"]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def _example(page: str) -> str:
    (text,) = (text for kind, text in DOCS[page].code if kind == "toml")
    return text


def test_the_file_is_a_configuration(tmp_path: Path) -> None:
    example = _example("configuration")
    file = tmp_path / "entrepot.toml"
    file.write_text(example)
    config = load_config({"config": str(file)}, {}, tmp_path, False)  # noqa: FBT003
    assert {name: getattr(config, name) for name in tomllib.loads(example)}.keys() <= {
        option.name for option in OPTIONS
    }
    assert config.size == 500 * 2**30


def test_the_accounts_are_a_configuration(tmp_path: Path) -> None:
    secret, file = tmp_path / "secret", tmp_path / "entrepot.toml"
    secret.write_text("x")
    file.write_text(_example("accounts").replace("/etc/entrepot/docker-hub", str(secret)))
    config = load_config({"config": str(file)}, {"ACME_PASSWORD": "x"}, tmp_path, False)  # noqa: FBT003
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


# What the log and the answers say


def test_every_event_named_is_logged() -> None:
    pages = (page for page in PAGES if page not in (CONTRIBUTING, DOCS["architecture"]))
    words = (span for page in pages for span in page.spans)
    events = [w for w in words if re.fullmatch(r"[a-z]+_[a-z]+", w) and w not in _not_events()]
    assert "certificate_refused" in events
    events += re.findall(r'"([a-z_]+)": [0-9]', README.text)  # what /healthz counts
    logged = {one.label for kind in (Event, Counter) for one in kind}
    assert [e for e in events if e not in logged | EventFields.__annotations__.keys()] == []


def test_every_metric_named_exists() -> None:
    texts = [*SPANS, *(code for page in PAGES for _, code in page.code)]
    named = {name for text in texts for name in re.findall(r"\bentrepot_[a-z_]*[a-z]\b", text)}
    named -= {option.mitmproxy for option in OPTIONS}
    groups = {"entrepot_store", "entrepot_disk", "entrepot_ca"}  # with `*`, and a package
    assert "entrepot_sent_bytes_total" in named
    assert named - METRICS - groups == set()


def _not_events() -> set[str]:
    ours = {name for option in OPTIONS for name in (option.name, option.mitmproxy)}
    theirs = {"http_proxy", "https_proxy", "block_global", "ssl_bump", "ssl_insecure"}
    shown = {"untrusting_clients", "others_trust"}  # keys of healthz
    shown |= {
        "media_type",
        "next_offset",
        "dry_run",
        "moved_to",
    }  # of the control socket, and its codes
    shown |= {"keep_last", "older_than", "unused_for", "moved_to"}
    shown |= {"bad_request", "not_cached", "too_large", "no_limit"}
    shown |= {"not_contained", "no_room", "take_blob", "take_manifest"}
    shown |= METRICS | {"rule_files"}  # which is Prometheus's
    schemas = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.json"))
    told = set(re.findall(r'"([a-z_]+)"', schemas))  # fields, and what they say
    return ours | theirs | shown | told | {"ca_sha256", "password_file", "password_env"}


# What the code writes


@pytest.mark.parametrize("name", BLOCKS)
def test_what_comes_from_the_code_is_as_the_code_says(name: str) -> None:
    page, render = BLOCKS[name]
    assert page.block(name) == render(), "run scripts/docs"


@pytest.mark.parametrize("file", FILES)
def test_what_the_code_writes_whole_is_as_the_code_says(file: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == FILES[file](), "run scripts/docs"


def test_the_man_page_is_one() -> None:
    """Groff has nothing to say of it, and `man` shows its sections."""
    need("man")
    page = ROOT / "docs/man/entrepot.1"
    finished = subprocess.run(
        ["man", "--warnings=w", "--local-file", str(page)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": PATH, "LANG": "C.UTF-8", "MANWIDTH": "80"},
    )
    assert finished.stderr == ""
    for heading in ("NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f"\n{heading}\n" in finished.stdout
    assert "--sort <name|size|used>" in finished.stdout
