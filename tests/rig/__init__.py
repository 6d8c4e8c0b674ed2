"""Real servers and real clients for the wire and end-to-end tests.

Nothing here imports the package under test: the proxy is a process, its upstreams are Debian's
docker-registry behind nginx, its clients are docker, containerd, skopeo and podman.
"""
