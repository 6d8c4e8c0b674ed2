"""What the proxy says of itself, to people and to machines."""
