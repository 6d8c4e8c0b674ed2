"""The page of a running proxy: what it may ask of the other parts, and where it listens."""
