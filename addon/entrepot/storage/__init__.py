"""What is kept on disk: within its limit, found whole after a kill."""
