"""The pages of the documentation, taken apart: spans of code, blocks of code, links, headings."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file; `path` is relative to the checkout."""

    path: Path

    @cached_property
    def text(self) -> str:
        return (ROOT / self.path).read_text(encoding="utf-8")

    @cached_property
    def code(self) -> list[tuple[str, str]]:
        """Each fenced block: its language, and what is in it."""
        return _FENCED.findall(self.text)

    @cached_property
    def prose(self) -> str:
        """All but the fenced blocks."""
        return _FENCED.sub("", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """What stands in backticks."""
        return _SPAN.findall(self.prose)

    @cached_property
    def links(self) -> list[str]:
        """The targets of links, with their anchors, but for those to other sites."""
        return [link for link in _LINK.findall(self.prose) if "://" not in link]

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors that GitHub makes of the headings."""
        return {_anchor(heading) for heading in _HEADING.findall(self.prose)}

    def table(self, header: str) -> list[list[str]]:
        """The cells of the table below this header line, row by row."""
        assert f"\n{header}\n" in self.text, f"{self.path} has no table {header}"
        rows = self.text.partition(f"\n{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
        return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]

    def block(self, name: str) -> str:
        """What stands between the marks of this name."""
        start, end = marks(name)
        assert self.text.count(start) == self.text.count(end) == 1, f"{self.path}: {start}"
        return self.text.partition(start)[2].partition(end)[0]


def marks(name: str) -> tuple[str, str]:
    """What encloses a part that the code writes."""
    return f"<!-- {name} -->\n", f"<!-- /{name} -->"


def _anchor(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


README, CONTRIBUTING = Page(Path("README.md")), Page(Path("CONTRIBUTING.md"))
DOCS = {path.stem: Page(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = (README, CONTRIBUTING, *DOCS.values())
"""What is compared with the code, word by word."""
LINKED = (*PAGES, Page(Path("CHANGELOG.md")), Page(Path("tests/README.md")))
"""Whose links are followed."""
