"""The glue to mitmproxy: the only code that imports it."""
