"""What a client needs to use the cache, made for the address by which it asks: ``/setup``."""
