"""Sending a body in band: from a file through mitmproxy to a client, chunk by chunk at its pace."""
