"""Which images of an inventory are meant: a condition on its tables, and its values."""

from dataclasses import dataclass
from typing import Self

from entrepot.protocol.identifiers import Digest
from entrepot.protocol.image_names import ImageName

_NAMES = """(' ' || registry || '/' || name || '@' || digest || ' '
  || COALESCE(registry || '/' || name || ':'
  || replace(tags, ' ', ' ' || registry || '/' || name || ':'), '') || ' ')"""
"""All names of an image, each between spaces."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A condition in SQL on ``Image JOIN Manifest``, and its parameters."""

    condition: str = "1"
    values: tuple[str | int, ...] = ()

    @classmethod
    def filtered(cls, text: str) -> Self:
        """Images one of whose names has this text in it; with `*` or `?`, is like it as a whole."""
        if "*" in text or "?" in text:
            return cls(f"{_NAMES} GLOB ?", (f"* {text.replace('[', '[[]')} *",))
        return cls(f"instr({_NAMES}, ?)", (text,)) if text else cls()

    @classmethod
    def named(cls, name: ImageName) -> Self:
        """The image of this name, or all images of the repositories that it stands for."""
        condition, values = "registry = ?", [name.registry]
        if name.is_prefix:
            condition += " AND substr(name, 1, ?) = ?"
            return cls(condition, (*values, len(name.path), name.path))
        condition, values = f"{condition} AND name = ?", [*values, name.path]
        if isinstance(name.reference, Digest):
            condition, values = f"{condition} AND digest = ?", [*values, str(name.reference)]
        elif name.reference is not None:
            condition += " AND instr(' ' || COALESCE(tags, '') || ' ', ?)"
            values.append(f" {name.reference} ")
        return cls(condition, tuple(values))
