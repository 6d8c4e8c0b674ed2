"""A download that is filled in any order: what is fetched next, by whom, and its hash."""
