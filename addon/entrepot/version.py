"""The version: the one place where it is set. ``pyproject.toml`` and ``--version`` read it here."""

VERSION = "0.2.0.dev0"
"""After PEP 440; see "A release" in CONTRIBUTING.md."""
