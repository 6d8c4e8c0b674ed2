"""What registries last said of lists (tags, referrers, repositories), and to whom."""
