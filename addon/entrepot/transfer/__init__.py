"""Bytes in flight: a download that grows while many follow it, and the bodies made of it."""
