"""Pushes that warm the cache: uploads are kept on their way to the registry."""
