"""One request, one response: bounded in time and size, towards any server."""
