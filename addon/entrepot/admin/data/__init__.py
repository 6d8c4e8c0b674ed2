"""What the page shows: read from the engine, the store and the records, as plain values."""
