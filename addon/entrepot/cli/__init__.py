"""The command ``entrepot``: a table of its commands, and a module for each."""
