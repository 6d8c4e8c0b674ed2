"""Manifests: by digest from the store, by tag after one HEAD upstream."""
