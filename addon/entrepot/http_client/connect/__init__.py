"""One connection: where it may lead, by which address, and with whose certificate."""
