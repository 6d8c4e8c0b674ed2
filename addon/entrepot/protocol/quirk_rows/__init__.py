"""The rows of the table of quirks that are about registries, and what a row is."""
