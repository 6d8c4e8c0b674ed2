"""The error of a start; by itself, since who reports it need not import a whole proxy."""


class StartError(Exception):
    """The proxy cannot start; the text is one line for the administrator."""
