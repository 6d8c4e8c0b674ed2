"""mitmproxy's events, and what is done at each."""
