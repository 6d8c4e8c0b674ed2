"""The command ``entrepot``: a module for each of its commands."""
