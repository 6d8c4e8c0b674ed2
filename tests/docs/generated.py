"""The parts of the documentation that the code writes, so that nobody keeps two copies.

Each stands between two marks, ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docs import commands
from docs.pages import DOCS, ROOT, Page, marks
from entrepot.config.options import OPTIONS, Option
from entrepot.events.documentation import counters_table, markdown_table
from entrepot.metrics.documentation import metrics_table
from entrepot.protocol import cache_status
from entrepot.protocol.quirk_rows.quirk import Quirk
from entrepot.protocol.quirk_rows.registries import REGISTRIES
from entrepot.protocol.quirks import CLIENTS
from test_layers import PACKAGE, ROOMS


def options() -> str:
    """Every option, in the words of ``--help``."""
    rows = ["| command line | mitmproxy | meaning |", "| --- | --- | --- |", *map(_option, OPTIONS)]
    return "\n".join(rows) + "\n"


def _option(option: Option) -> str:
    said = f"{option.flag} {option.metavar}".strip()
    repeatable = "; repeatable" if option.kind == "repeatable" else ""
    return f"| `{said}` | `{option.mitmproxy}` | {option.help}{repeatable} |"


def rooms() -> str:
    """Every room with its sentence and its modules, each in the first line of its docstring."""
    folders = [PACKAGE / name for name in reversed(ROOMS) if (PACKAGE / name).is_dir()]
    alone = [PACKAGE / f"{name}.py" for name in reversed(ROOMS) if not (PACKAGE / name).is_dir()]
    return "\n".join([*map(_room, folders), _table("Beside the rooms", "", map(_row, alone))])


def _room(folder: Path) -> str:
    return _table(f"`{folder.name}/`", _sentence(folder / "__init__.py"), _rows(folder))


def _table(title: str, sentence: str, rows: Iterator[str]) -> str:
    head = [f"### {title}", "", *([sentence, ""] if sentence else [])]
    return "\n".join([*head, "| module | what it is for |", "| --- | --- |", *rows]) + "\n"


def _rows(folder: Path) -> Iterator[str]:
    """A row for each module of a folder, then those of the folders in it."""
    yield from (_row(file) for file in sorted(folder.glob("*.py")) if file.stem[:2] != "__")
    for init in sorted(folder.glob("*/__init__.py")):
        yield f"| **`{init.parent.name}/`** | **{_sentence(init)}** |"
        yield from _rows(init.parent)


def _row(file: Path) -> str:
    return f"| [`{file.stem}`](../{file.relative_to(ROOT)}) | {_sentence(file)} |"


def _sentence(file: Path) -> str:
    words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0].replace("``", "`").replace("|", r"\|")


def quirks_of(*quirks: Quirk) -> str:
    """A table of what single registries or clients do otherwise."""
    rows = [f"| {one.who} | {one.what.replace('``', '`')} | {one.source} |" for one in quirks]
    head = ("| who | what they do: what Entrepôt does about it | source |", "| --- | --- | --- |")
    return "\n".join([*head, *rows]) + "\n"


def healthz() -> str:
    """Every field of ``/healthz``, as its JSON Schema has it."""
    schema = json.loads((ROOT / "docs/healthz.schema.json").read_text(encoding="utf-8"))
    rows = ["| field | values | meaning |", "| --- | --- | --- |", *_fields(schema, "")]
    return "\n".join(rows) + "\n"


def _fields(schema: dict[str, Any], above: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield f"| `{above}{name}` | {_values(field)} | {field['description']} |"
        yield from _fields(field, f"{above}{name}.")
        yield from _fields(field.get("items", {}), f"{above}{name}[].")
        inner = field.get("additionalProperties")
        yield from _fields(inner or {}, f"{above}{name}.HOST.")


def _values(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kinds = field["type"]
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def exit_codes() -> str:
    """What each exit code of the command line means."""
    rows = [f"| {code} | {text} |" for code, text in commands.EXIT_CODES]
    return "\n".join(["| code | meaning |", "| --- | --- |", *rows]) + "\n"


def schemas() -> str:
    """The schemas of what is printed as JSON, each by its title."""
    rows = ["| printed by | schema |", "| --- | --- |"]
    for file in sorted((ROOT / "docs").glob("*.schema.json")):
        title = json.loads(file.read_text(encoding="utf-8"))["title"]
        rows.append(f"| `{title}` | [{file.name}]({file.name}) |")
    return "\n".join(rows) + "\n"


BLOCKS: dict[str, tuple[Page, Callable[[], str]]] = {
    "cache-status": (DOCS["operations"], cache_status.markdown_table),
    "commands": (DOCS["commands"], commands.markdown),
    "exit-codes": (DOCS["commands"], exit_codes),
    "schemas": (DOCS["commands"], schemas),
    "options": (DOCS["configuration"], options),
    "events": (DOCS["operations"], markdown_table),
    "counters": (DOCS["operations"], counters_table),
    "healthz": (DOCS["operations"], healthz),
    "metrics": (DOCS["metrics"], metrics_table),
    "quirks-of-registries": (DOCS["quirks"], lambda: quirks_of(*REGISTRIES)),
    "quirks-of-clients": (DOCS["quirks"], lambda: quirks_of(*CLIENTS)),
    "rooms": (DOCS["architecture"], rooms),
}
"""Each by its name: the page where it stands, and what writes it."""


FILES: dict[str, Callable[[], str]] = {"docs/man/entrepot.1": commands.man_page}
"""Files that the code writes whole."""


def write() -> None:
    """Write every block and file anew."""
    for file, render in FILES.items():
        (ROOT / file).parent.mkdir(exist_ok=True)
        (ROOT / file).write_text(render(), encoding="utf-8")
    for name, (page, render) in BLOCKS.items():
        start, end = marks(name)
        text = (ROOT / page.path).read_text(encoding="utf-8")
        before, after = text.partition(start)[0], text.partition(end)[2]
        (ROOT / page.path).write_text(before + start + render() + end + after, encoding="utf-8")
