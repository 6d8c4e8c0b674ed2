"""What a running proxy tells of itself, to its page and to commands; where the page listens."""
