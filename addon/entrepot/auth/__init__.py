"""Who asks, as whom registries are asked, and what was granted to whom."""
