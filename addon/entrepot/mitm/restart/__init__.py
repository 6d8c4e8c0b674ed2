"""A restart that fails no pull: what may end before it, and the sockets that stay open over it."""
