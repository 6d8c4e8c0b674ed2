"""The size limit: what objects, downloads and pushes may take, and what gives way for more."""
