"""mitmproxy's layers, replaced or bounded: how bytes of clients are read and answers written."""
