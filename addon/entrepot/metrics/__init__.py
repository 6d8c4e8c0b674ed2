"""Metrics for Prometheus (`/metrics`): what was counted since the start, and how all does now."""
