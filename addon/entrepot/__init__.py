"""Transparent cache of container registries, as a mitmproxy addon."""
