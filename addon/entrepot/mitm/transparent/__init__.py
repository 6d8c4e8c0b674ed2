"""The transparent road: connections that a firewall redirected, whose clients know of no proxy."""
