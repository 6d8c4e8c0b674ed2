"""Bytes in flight: a download that grows while many read it, and the bodies made of it."""
