"""Beside the pulls: old rows are dropped, and content is read again before anybody asks for it."""
