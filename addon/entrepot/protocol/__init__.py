"""What registries and their clients say, as plain values."""
