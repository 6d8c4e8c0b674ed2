"""What one running proxy is made of: what it finds on disk, and how its parts are put together."""
