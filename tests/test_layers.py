"""The rooms of `entrepot` import downwards only, and each outside library has its room.

Read from the source with `ast`, so that imports inside functions and for types count too.
"""

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "addon/entrepot"

ROOMS = (
    "version",
    "bounded_map",
    "intervals",
    "events",
    "protocol",
    "config",
    "auth",
    "storage",
    "observe",
    "http_client",
    "transfer",
    "upstream",
    "push",
    "pull",
    "maintenance",
    "control",
    "endpoints",
    "metrics",
    "admin",
    "app",
    "mitm",
    "cli",
)
"""Every folder and module of `entrepot`, from the ground up: each imports only those before it."""

LIBRARIES = {
    "mitmproxy": ("mitm",),
    "diskcache": ("storage",),
    "urllib3": ("http_client",),
    "publicsuffixlist": ("auth",),
    "ruamel": ("config", "cli"),
    "typer": ("cli",),
    "rich": ("cli",),
    "cryptography": ("mitm",),
    "h11": ("mitm",),
    "OpenSSL": ("mitm",),
    "prometheus_client": ("metrics",),
    "starlette": ("admin",),
    "uvicorn": ("admin",),
    "jinja2": ("admin",),
    "markupsafe": ("admin",),
    "entrepot_ca": ("app", "cli"),
}
"""Which rooms may import what is not of the standard library."""

MOST_LINES = 300
MOST_MODULES = 12
"""In one folder, `__init__.py` not counted."""


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


def room_of(name: str) -> str | None:
    """Return the room of a module, by its full name; None for what is not of `entrepot`."""
    package, _, below = name.partition(".")
    return below.partition(".")[0] if package == "entrepot" and below else None


def complaints(module: Module) -> Iterator[str]:
    """Say each import of this module that its room forbids."""
    for imported in sorted(module.imports):
        if why := _forbidden(module.name, imported):
            yield f"{module.name} imports {imported}: {why}"


def _forbidden(module: str, imported: str) -> str | None:
    room, top = room_of(module), imported.partition(".")[0]
    if room is None:
        return _forbidden_alone(module, top)
    if top == "entrepot":
        other = room_of(imported)
        if other is not None and _storey(other) > _storey(room):
            return f"{other} is above {room}"
    elif top not in sys.stdlib_module_names:
        allowed = LIBRARIES.get(top, ())
        return None if room in allowed else f"only {' and '.join(allowed) or 'nobody'} may"
    return None


def _storey(room: str) -> int:
    if room not in ROOMS:
        raise LookupError(f"entrepot.{room} has no place: give it one in ROOMS of {__file__}")
    return ROOMS.index(room)


def _forbidden_alone(module: str, top: str) -> str | None:
    """Judge `entrepot_ca` and the root of `entrepot`, which are no rooms."""
    if module == "entrepot":
        return None if top in sys.stdlib_module_names else "the package itself imports nothing"
    return "the authority stands alone" if top in {"entrepot", "mitmproxy"} else None


MODULES = read_modules(ROOT)
FOLDERS = sorted(file.parent for file in PACKAGE.rglob("__init__.py"))
MODULE_FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda module: module.name)
def test_imports_go_down(module: Module) -> None:
    """A module imports its own room and those below, and only its room's libraries."""
    room = room_of(module.name)
    assert room is None or _storey(room) >= 0
    assert not list(complaints(module))


def test_no_import_goes_round() -> None:
    """No module imports itself, however long the way."""
    graph = {name: module.imports & MODULES.keys() for name, module in MODULES.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_table_names_what_exists() -> None:
    """A room that is gone leaves the table too."""
    assert {room_of(name) for name in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("file", MODULE_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_docstrings_name_what_exists(file: Path) -> None:
    """A module that one points to (``room.module``) is there, under that name."""
    named = re.compile(rf"``((?:{'|'.join(ROOMS)})\.[a-z_0-9.]+)")
    files = {name.removeprefix("entrepot.") for name in MODULES}
    rooms = {str(folder.relative_to(PACKAGE)).replace("/", ".") for folder in FOLDERS}
    pointed_to = {name for text in _docstrings(file) for name in named.findall(text)}
    attributes = {name for name in pointed_to if name.rpartition(".")[0] in files - rooms}
    assert pointed_to - files - attributes - {"config.json"} == set()  # which is docker's


def _docstrings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(PACKAGE)))
def test_a_folder_can_be_looked_over(folder: Path) -> None:
    """It has a sentence and no code of its own, few modules, and no long one."""
    modules = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES
    (sentence,) = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(sentence, ast.Expr)
    assert isinstance(sentence.value, ast.Constant)
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in modules}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("protocol/headers.py", "import entrepot.storage.store", "storage is above protocol"),
        ("protocol/headers.py", "from entrepot import storage", "storage is above protocol"),
        ("protocol/headers.py", "from .. import storage", "storage is above protocol"),
        ("protocol/headers.py", "from ..storage.store import Store", "storage is above"),
        ("mitm/hooks/a.py", "from ...cli import main", "cli is above mitm"),
        ("storage/store.py", "def f():\n    import entrepot.mitm.addon", "mitm is above"),
        ("events/log.py", "import entrepot.protocol.headers", "protocol is above events"),
        ("protocol/headers.py", "import urllib3.util", "only http_client may"),
        ("protocol/headers.py", "import publicsuffixlist", "only auth may"),
        ("auth/grants.py", "import diskcache", "only storage may"),
        ("pull/cache.py", "from mitmproxy import http", "only mitm may"),
        ("endpoints/a.py", "import mitmproxy.http", "only mitm may"),
        ("cli/main.py", "import mitmproxy.http", "only mitm may"),
        ("pull/cache.py", "import numpy", "only nobody may"),
        ("pull/cache.py", "import entrepot_ca.authority", "only app and cli may"),
        ("__init__.py", "import entrepot.cli", "the package itself imports nothing"),
        ("../../ca/entrepot_ca/a.py", "from entrepot.protocol import a", "stands alone"),
        ("../../ca/entrepot_ca/a.py", "import mitmproxy", "the authority stands alone"),
    ],
)
def test_forbidden_import_is_found(file: str, source: str, complaint: str, tmp_path: Path) -> None:
    """Each rule finds the import that breaks it, however it is written."""
    module = _read_one(tmp_path, file, source)
    (found,) = complaints(module)
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("protocol/routes.py", "import re\nfrom entrepot.protocol.headers import x"),
        ("auth/token_servers.py", "from publicsuffixlist import PublicSuffixList"),
        ("storage/startup/a.py", "import diskcache"),
        ("mitm/hooks/a.py", "import mitmproxy\nimport entrepot.app\nfrom . import b"),
        ("cli/main.py", "import entrepot_ca\nimport entrepot.mitm.a"),
        ("../../ca/entrepot_ca/a.py", "import cryptography.x509\nfrom . import b"),
    ],
)
def test_allowed_import_is_not_found(file: str, source: str, tmp_path: Path) -> None:
    """Each room may import itself, those below and its libraries."""
    assert not list(complaints(_read_one(tmp_path, file, source)))


def test_unknown_room_must_be_placed(tmp_path: Path) -> None:
    """A new room is no one's until the table says where it belongs."""
    module = _read_one(tmp_path, "novelty/a.py", "import entrepot.events")
    with pytest.raises(LookupError, match=r"entrepot.novelty has no place: give it one in ROOMS"):
        list(complaints(module))


def _read_one(root: Path, file: str, source: str) -> Module:
    """Read a module in a tree that has nothing else but the store."""
    package = root / "addon/entrepot"
    for path, text in (("storage/__init__.py", ""), ("storage/store.py", ""), (file, source)):
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text, encoding="utf-8")
    found = (package / file).resolve().relative_to(root)
    name = _module_name(found, Path(found.parts[0]))
    return read_modules(root)[name]
