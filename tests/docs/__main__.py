"""Writes what of the documentation comes from the code: ``scripts/docs``."""

from docs.generated import write

write()
