"""What every command stands in: its options and settings, its exit code, how it prints."""
