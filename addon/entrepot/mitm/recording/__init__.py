"""The one place where a record is made of each request and each tunnel to a registry."""
