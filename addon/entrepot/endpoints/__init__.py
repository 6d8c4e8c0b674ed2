"""The other answers: pings and tokens, mirrors, lists, and the proxy's own pages."""
