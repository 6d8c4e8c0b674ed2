"""What single registries and clients do otherwise: one table, with a test for each row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import entrepot
from entrepot.protocol import quirks
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.quirk_rows.quirk import Quirk
from entrepot.protocol.quirks import (
    HUB,
    QUIRKS,
    asks_where,
    configured_name,
    is_hub_name,
    is_well_known,
    registry_at,
)

ADDON = Path(entrepot.__file__).parent
TESTS = Path(__file__).parents[2]

_COUNTED = re.compile(r"\b(is_)?hub_pulls?(_saved)?\b", re.IGNORECASE)
NAMED = re.compile(
    r"docker[._-]?hub|docker\.(io|com|elastic)|(^|[^a-z])hub([^a-z]|$)|ratelimit-|library/"
    r"|ghcr|quay|gcr\.|(^|[^a-z])ecr([^a-z]|$)|azure|gitlab|github|amazon|pkg\.dev|k8s|mcr\."
    r"|nvcr|redhat|harbor|artifactory|jfrog|nexus|sonatype|ollama|containerd|podman|skopeo"
    r"|buildkit|buildah|kaniko|kubelet|nginx",
    re.IGNORECASE,
)
"""Registries and clients by name. Not docker, whose name is that of header fields and files too."""

DEFINED = frozenset(
    node.name
    for file in TESTS.rglob("test_*.py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
)


def _code(file: Path) -> Iterator[tuple[int, str]]:
    """Every name and text of a module, with its line, but for docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield node.lineno, text
            case ast.Constant(value=bytes(data)):
                yield node.lineno, data.decode("latin-1")
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: f"{quirk.who}: {quirk.test}")
def test_every_row_is_complete(quirk: Quirk) -> None:
    """Who, what and what is done about it, where it is said, and a test that there is."""
    assert quirk.who
    assert ": " in quirk.what
    assert re.search(r"https://|RFC |seen|reported", quirk.source)
    assert quirk.test in DEFINED


def test_nobody_is_named_elsewhere() -> None:
    """Whoever looks for what is done for one registry finds all of it here.

    What people read may name some: the help of options and commands, the table of events, whom a
    set-up is for. Docker Hub's pulls are counted for them too, by names of their own.
    """
    read = {
        "protocol/quirks.py",
        "protocol/quirk_rows/registries.py",
        "config/options.py",
        "events/table.py",
        "endpoints/setup/variants.py",
        "admin/data/setup_lines.py",
        "metrics/request_families.py",
    }
    ours = set(vars(quirks))
    found = [
        f"{file.relative_to(ADDON)}:{line}: {text}"
        for file in sorted(ADDON.rglob("*.py"))
        if str(file.relative_to(ADDON)) not in read and not file.is_relative_to(ADDON / "cli")
        for line, text in _code(file)
        if NAMED.search(_COUNTED.sub("", text)) and text not in ours
    ]
    assert found == []


def test_no_client_is_told_by_what_it_calls_itself() -> None:
    """``User-Agent`` is passed on, is our own, or is put on record; one quirk goes by it.

    It changes where a client is told to fetch a blob, and not what it may have.
    """
    found = {
        "/".join(file.parts[-2:]) if file.parent.name == "recording" else file.name
        for file in ADDON.rglob("*.py")
        for _, text in _code(file)
        if text.lower() == "user-agent"
    }
    recorded = {"recording/requests.py", "recording/tunnels.py"}
    said = {"client.py", "of_proxy.py", "tls_inspection.py", "addresses.py"}
    assert found == {"header_filters.py"} | said | recorded


@pytest.mark.parametrize(
    ("agent", "ranges", "asks"),
    [
        ("ollama/0.32.15 (amd64 linux) Go/go1.26.0", None, True),
        ("ollama-transfer/1.0", None, True),
        ("ollama/0.3.1 (arm64 darwin) Go/go1.22.5", "bytes=0-9", False),
        ("Go-http-client/1.1", None, False),
        ("not ollama/1", None, False),
        ("", None, False),
    ],
)
def test_who_asks_where_a_blob_is(agent: str, ranges: str | None, *, asks: bool) -> None:
    """What Ollama sends without a range is a question for an address; nobody else asks it."""
    assert asks_where(agent, ranges) is asks


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_several_names(host: str) -> None:
    """Whichever is used, it is one registry, and is called as everybody calls it."""
    assert is_hub_name(host.title())
    origin = Origin("https", host, 443)
    assert registry_at(origin) == HUB
    assert configured_name(origin) == "docker.io"


@pytest.mark.parametrize(
    "text",
    [
        "https://docker.io:5000",
        "http://registry-1.docker.io",
        "https://auth.docker.io",
        "https://docker.io.example",
        "https://ghcr.io",
    ],
)
def test_others_are_what_they_are(text: str) -> None:
    """A host below docker.io, another port or plain http is no name of Docker Hub."""
    origin = Origin.parse(text)
    assert registry_at(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "http://ghcr.io",
        "https://ghcr.io:8443",
        "https://docker.io",
        "https://ghcr.io.example",
        "https://a.b.azurecr.io",
        "https://huggingface.co",
    ],
)
def test_a_well_known_registry_is_one_by_its_whole_origin(text: str) -> None:
    assert not is_well_known(Origin.parse(text))
    assert is_well_known(Origin("https", "ghcr.io", 443))
    assert is_well_known(Origin("https", "registry.ollama.ai", 443))
