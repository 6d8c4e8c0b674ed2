"""``entrepot doctor``: a check of all that a cache depends on, each finding with its fix."""
