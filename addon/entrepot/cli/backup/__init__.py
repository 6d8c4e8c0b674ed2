"""Backups of what cannot be had again: authority, knowledge, pins, records, settings."""
