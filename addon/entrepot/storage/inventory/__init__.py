"""What is cached, as images: read, removed and pinned."""
