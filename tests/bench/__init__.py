"""Measures the proxy and its peers side by side: see `scripts/bench --help`.

Everything runs on loopback, as processes of its own below a temporary folder.
"""
