"""Which hosts are registries, and which are left alone."""
