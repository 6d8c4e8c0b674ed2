"""Lists of tags, referrers and repositories: the registry's to answer, and kept for outages."""
