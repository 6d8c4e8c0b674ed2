"""The commands about the proxy that runs: how it does, and what it did."""
