"""Blobs: a hit, a running fetch to follow, or a miss that starts one."""
