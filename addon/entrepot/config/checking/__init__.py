"""What is wrong with a configuration, all of it, and where each setting in force comes from."""
