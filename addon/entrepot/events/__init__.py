"""What is logged and counted: one table of events, their fields, and the log itself."""
