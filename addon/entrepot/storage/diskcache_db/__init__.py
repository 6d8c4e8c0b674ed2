"""diskcache, as the store uses it: keys and rows without pickle, in a database that is checked."""
