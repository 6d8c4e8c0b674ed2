"""Pulls: blobs and manifests, answered from the cache or by asking upstream once."""
