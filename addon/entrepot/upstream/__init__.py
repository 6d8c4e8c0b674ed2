"""When, how often and as whom registries are asked."""
