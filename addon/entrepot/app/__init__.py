"""Everything that one running proxy consists of, put together from a configuration."""
