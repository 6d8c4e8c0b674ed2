"""The commands about what is cached: over the control socket, or in the data folder itself."""
