"""What the administrator says: options, files and the environment, checked and merged."""
