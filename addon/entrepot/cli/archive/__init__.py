"""Images as archives (OCI image layout in a tar): written for others to read, and read."""
