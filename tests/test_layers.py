"""Imports go down the levels only, and each outside library has its place.

Read from the source with `ast`, so that imports inside functions and for types count too.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEVELS = {
    # 0: pure values and parsers
    "reference": 0,
    "bypass": 0,
    "shares": 0,
    "endpoint": 0,
    "headers": 0,
    "account": 0,
    "networks": 0,
    "spelling": 0,
    "reach": 0,
    "registries": 0,
    "mirror": 0,
    "places": 0,
    "well_known": 0,
    "quantities": 0,
    "options": 0,
    "config": 0,
    "message": 0,
    "manifest": 0,
    # 1: decisions
    "freshness": 1,
    "grants": 1,
    "identity": 1,
    "access": 1,
    "accounts": 1,
    "breaker": 1,
    "tokens": 1,
    "content": 1,
    "throughput": 1,
    "descriptors": 1,
    "pushing": 1,
    "forwarding": 1,
    # 2: disk and network
    "events": 2,
    "storage_reasons": 2,
    "verify": 2,
    "directory": 2,
    "disk": 2,
    "credential_helper": 2,
    "docker_config": 2,
    "backfill": 2,
    "database": 2,
    "datafolder": 2,
    "entries": 2,
    "index": 2,
    "itself": 2,
    "destinations": 2,
    "objects": 2,
    "growing": 2,
    "gunzip": 2,
    "head": 2,
    "patience": 2,
    "ratelimits": 2,
    "connecting": 2,
    "reasons": 2,
    "recovery": 2,
    "shutdown": 2,
    "rows": 2,
    "room": 2,
    "holds": 2,
    "store": 2,
    "tlssocket": 2,
    "trust": 2,
    "pools": 2,
    "reply": 2,
    "mutual_tls": 2,
    "calls": 2,
    "slots": 2,
    "flights": 2,
    "threads": 2,
    "upstream": 2,
    "plain_yaml": 2,
    "registry_config": 2,
    "configuring": 2,
    "body": 2,
    "pieces": 2,
    "download": 2,
    "drafts": 2,
    "watched": 2,
    "keeping": 2,
    # 3: the engine
    "signing": 3,
    "asking": 3,
    "elsewhere": 3,
    "driver": 3,
    "permission": 3,
    "outage": 3,
    "checks": 3,
    "scrub": 3,
    "upkeep": 3,
    "blobs": 3,
    "fetches": 3,
    "download_limits": 3,
    "manifests": 3,
    "tagwords": 3,
    "uploads": 3,
    "pushes": 3,
    "cache": 3,
    "hosts": 3,
    "fitness": 3,
    "probes": 3,
    "admission": 3,
    "behalf": 3,
    "listing": 3,
    "mirrors": 3,
    "logins": 3,
    # 4: glue
    "mitm": 4,
    "admin": 4,
    # 5: the command
    "commands": 5,
    "cli": 5,
}
"""Every module of `entrepot`; a package stands for all below it."""

PURE_LEVEL = 1
"""Up to here: the standard library, and from level 1 what PURE_LIBRARIES adds."""
PURE_LIBRARIES = {"publicsuffixlist"}
MITMPROXY = ("mitm",)
"""Who may import mitmproxy."""
AUTHORITY_LEVEL = 4
"""From here: who may import entrepot_ca."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module and the full names of what it imports."""

    name: str
    imports: frozenset[str]


def read_modules(root: Path) -> dict[str, Module]:
    """Read every module under `addon/entrepot` and `ca/entrepot_ca` of this checkout."""
    files = {
        _module_name(file, source): file
        for source, package in ((root / "addon", "entrepot"), (root / "ca", "entrepot_ca"))
        for file in sorted((source / package).rglob("*.py"))
    }
    return {
        name: Module(name, frozenset(_imports(name, file, set(files))))
        for name, file in files.items()
    }


def _module_name(file: Path, source: Path) -> str:
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, file: Path, modules: set[str]) -> Iterator[str]:
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if whole in modules else base


def _inside(name: str) -> str | None:
    """Return the name below `entrepot`, None for what is not of it."""
    return name.removeprefix("entrepot.") if name.startswith("entrepot.") else None


def _is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def level(name: str) -> int:
    """Return the level of a module of `entrepot`; LookupError where the table has none."""
    for prefix, number in LEVELS.items():
        if _is_below(name, prefix):
            return number
    raise LookupError(f"entrepot.{name} has no level: place it in LEVELS of tests/test_layers.py")


def complaints(module: Module) -> Iterator[str]:
    """Say each import of this module that its level forbids."""
    name = _inside(module.name)
    for imported in sorted(module.imports):
        if why := _forbidden(module.name, name, imported):
            yield f"{module.name} imports {imported}: {why}"


def _forbidden(module: str, name: str | None, imported: str) -> str | None:
    top = imported.partition(".")[0]
    if name is None:
        return _forbidden_alone(module, top)
    own = level(name)
    if top == "entrepot":
        below = _inside(imported)
        if below is not None and level(below) > own:
            return f"level {own} may not import level {level(below)}"
    elif top == "entrepot_ca":
        return None if own >= AUTHORITY_LEVEL else f"only level {AUTHORITY_LEVEL} and above may"
    elif top == "mitmproxy":
        is_glue = any(_is_below(name, prefix) for prefix in MITMPROXY)
        return None if is_glue else f"only {' and '.join(MITMPROXY)} may"
    elif own <= PURE_LEVEL:
        allowed = top in sys.stdlib_module_names or (own > 0 and top in PURE_LIBRARIES)
        return None if allowed else f"level {own} is pure"
    return None


def _forbidden_alone(module: str, top: str) -> str | None:
    """Judge `entrepot_ca` and the root of `entrepot`, which have no level."""
    if module == "entrepot":
        return None if top in sys.stdlib_module_names else "the package itself imports nothing"
    return "the authority stands alone" if top in {"entrepot", "mitmproxy"} else None


MODULES = read_modules(ROOT)


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.name)
def test_imports_go_down(module: Module) -> None:
    """A module imports its own level and those below, and only its level's libraries."""
    name = _inside(module.name)
    assert name is None or level(name) >= 0
    assert not list(complaints(module))


def test_no_import_goes_round() -> None:
    """No module imports itself, however long the way."""
    graph = {name: module.imports & MODULES.keys() for name, module in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_table_names_what_exists() -> None:
    """A module that is gone leaves the table too."""
    known = {_inside(name) for name in MODULES} - {None}
    gone = {prefix for prefix in LEVELS if prefix not in known}
    assert not gone


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("addon/entrepot/headers.py", "import entrepot.store", "level 0 may not import level 2"),
        ("addon/entrepot/headers.py", "from entrepot import store", "level 0 may not"),
        ("addon/entrepot/headers.py", "from . import store", "level 0 may not import level 2"),
        ("addon/entrepot/headers.py", "from .store import Store", "level 0 may not"),
        ("addon/entrepot/mitm/a.py", "from ..cli import main", "level 4 may not import level 5"),
        ("addon/entrepot/store.py", "def f():\n    import entrepot.mitm.addon", "level 2 may not"),
        ("addon/entrepot/headers.py", "import urllib3.util", "level 0 is pure"),
        ("addon/entrepot/headers.py", "import publicsuffixlist", "level 0 is pure"),
        ("addon/entrepot/access.py", "import diskcache", "level 1 is pure"),
        ("addon/entrepot/cache.py", "from mitmproxy import http", "only mitm may"),
        ("addon/entrepot/admin/a.py", "import mitmproxy.http", "only mitm may"),
        ("addon/entrepot/cli.py", "import mitmproxy.http", "only mitm may"),
        ("addon/entrepot/cache.py", "import entrepot_ca.authority", "only level 4 and above may"),
        ("addon/entrepot/__init__.py", "import entrepot.cli", "the package itself imports nothing"),
        ("ca/entrepot_ca/a.py", "from entrepot.reference import Digest", "stands alone"),
        ("ca/entrepot_ca/a.py", "import mitmproxy", "the authority stands alone"),
    ],
)
def test_forbidden_import_is_found(file: str, source: str, complaint: str, tmp_path: Path) -> None:
    """Each rule finds the import that breaks it, however it is written."""
    (module,) = _read_tree(tmp_path, {"addon/entrepot/store.py": "", file: source}, file)
    (found,) = complaints(module)
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("addon/entrepot/endpoint.py", "import re\nfrom entrepot.reference import Digest"),
        ("addon/entrepot/access.py", "from publicsuffixlist import PublicSuffixList"),
        ("addon/entrepot/store.py", "import diskcache"),
        ("addon/entrepot/mitm/a.py", "import mitmproxy\nimport entrepot_ca\nfrom . import b"),
        ("addon/entrepot/cli.py", "import entrepot_ca\nimport entrepot.mitm.a"),
        ("ca/entrepot_ca/a.py", "import cryptography.x509\nfrom . import b"),
    ],
)
def test_allowed_import_is_not_found(file: str, source: str, tmp_path: Path) -> None:
    """Each level may import its own level, those below and its libraries."""
    (module,) = _read_tree(tmp_path, {file: source}, file)
    assert not list(complaints(module))


def test_unknown_module_must_be_placed(tmp_path: Path) -> None:
    """A new module is no one's until the table says where it belongs."""
    file = "addon/entrepot/novelty.py"
    (module,) = _read_tree(tmp_path, {file: "import re"}, file)
    with pytest.raises(LookupError, match=r"entrepot.novelty has no level: place it in LEVELS"):
        list(complaints(module))


def _read_tree(root: Path, sources: dict[str, str], file: str) -> list[Module]:
    for path, source in sources.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(source, encoding="utf-8")
    name = _module_name(Path(file), Path(file.partition("/")[0]))
    return [module for module in read_modules(root).values() if module.name == name]
