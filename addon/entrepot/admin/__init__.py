"""The page and its API: what an administrator sees of a running proxy, and changes there."""
