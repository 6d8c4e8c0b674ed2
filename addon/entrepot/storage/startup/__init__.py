"""When a data folder is opened: one process, an earlier format, the leftovers of a kill."""
