"""For whom a request is: a registry under one name alone, or the proxy itself."""
