"""The parts of pages that stay up to date: what the template of each is given."""
