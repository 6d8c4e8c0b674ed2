"""What the administrator asks of a running proxy, or of its folder: images, removals, pins."""
