"""Data folders of other versions, and how they were made: see README.md beside this."""
