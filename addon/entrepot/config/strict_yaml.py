"""YAML as nothing but text, lists and sections, from a file that others wrote.

Scalars stay the text that they are (`012` and `168h` alike), as in Go's decoder when it fills a
string. Nothing is constructed: no tag has a meaning, an alias is the value that it names and not
a copy, and one that contains itself is refused. An error says a place and never quotes what is
there, which may be a password.
"""

from collections.abc import Sequence
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

LARGEST = 64 * 1024
"""Characters; the parser's time grows with the square of nested brackets."""

Plain: TypeAlias = "str | list[Plain] | dict[str, Plain] | None"

_TAG = "tag:yaml.org,2002:"
_KINDS = frozenset(
    _TAG + kind for kind in ("str", "int", "float", "bool", "timestamp", "value", "seq", "map")
)


def read(text: str) -> Plain:
    """Read one document; ValueError says where it cannot be read."""
    if len(text) > LARGEST:
        raise ValueError(f"expected at most {LARGEST} characters")
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
        return None if root is None else _Reading().value(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"not one YAML document: something is wrong{where}") from None
    except YAMLError:
        raise ValueError("not one YAML document: it holds control characters") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


class _Reading:
    """One pass over the nodes; an alias makes the same node appear again."""

    def __init__(self) -> None:
        self._done: dict[int, Plain] = {}
        self._open: set[int] = set()

    def value(self, node: Node) -> Plain:
        key = id(node)
        if key in self._open:
            raise _refused(node, "a value that contains itself")
        if key not in self._done:
            self._open.add(key)
            self._done[key] = self._fresh(node)
            self._open.discard(key)
        return self._done[key]

    def _fresh(self, node: Node) -> Plain:
        if node.tag == _TAG + "null":
            return None
        if node.tag not in _KINDS:
            raise _refused(node, "a tag (!) or a merge (<<), which is not supported,")
        if isinstance(node, ScalarNode):
            return str(node.value)
        if isinstance(node, MappingNode):
            return self._section(node.value)
        return [self.value(item) for item in node.value]

    def _section(self, pairs: Sequence[tuple[Node, Node]]) -> dict[str, Plain]:
        section: dict[str, Plain] = {}
        for key, value in pairs:
            name = self.value(key)
            if not isinstance(name, str):
                raise _refused(key, "a key that is no text")
            if name in section:
                raise _refused(key, "a key that was there before")
            section[name] = self.value(value)
        return section


def _refused(node: Node, what: str) -> ValueError:
    mark = node.start_mark
    return ValueError(f"{what} stands at line {mark.line + 1}, column {mark.column + 1}")
