"""Whether the proxy is well: `/livez`, `/readyz` and `/healthz`."""
