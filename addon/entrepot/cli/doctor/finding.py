"""What a check found: how it stands, and what to do about it."""

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How it stands; the values are those of JSON."""

    OK = "ok"
    NOTE = "note"
    """Worth to know, and no fault."""
    WARNING = "warning"
    """It works, and may not for long or not for all."""
    PROBLEM = "problem"
    """Pulls fail, or go past the cache."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: about what, how it stands, what was seen, and the fix if there is one."""

    about: str
    level: Level
    said: str
    fix: str | None = None


def ok(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(about, Level.OK, said)


def note(about: str, said: str, fix: str | None = None) -> Finding:
    """Worth to know."""
    return Finding(about, Level.NOTE, said, fix)


def warning(about: str, said: str, fix: str) -> Finding:
    """It works, for now."""
    return Finding(about, Level.WARNING, said, fix)


def problem(about: str, said: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(about, Level.PROBLEM, said, fix)
