"""The commands about the settings."""
