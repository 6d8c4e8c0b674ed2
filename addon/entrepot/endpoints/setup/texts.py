"""The texts that a client is set up by: files beside this module, filled in strictly.

A place to fill is ``@{name}``, and an ``@`` that is none is ``@@``: dollars are the shell's. A name
that is not given, or a lone ``@``, is an error. What is filled in must need no quoting in the text:
addresses and fingerprints never do, a certificate comes as a string of JSON, which is one of YAML
and of TOML too.
"""

import re
import string
from collections.abc import Mapping
from functools import cache
from importlib import resources

_UNFILLED = "\nSERVED_BY=''\n"


class _Text(string.Template):
    delimiter = "@"
    idpattern = "(?-i:[a-z_]+)"
    braceidpattern = idpattern
    flags = re.NOFLAG


@cache
def read(name: str) -> str:
    """Read one of the files."""
    folder = resources.files("entrepot.endpoints.setup") / "texts"
    return (folder / name).read_text("utf-8")


def fill(name: str, values: Mapping[str, str]) -> str:
    """Fill a text in. Raises KeyError for a name without a value, ValueError for a lone ``@``."""
    return _Text(read(name)).substitute(values)


def script(address: str) -> str:
    """The set-up script, which knows by one variable at its top where it comes from."""
    before, _, after = read("setup.sh").partition(_UNFILLED)
    if not after or "'" in address:
        raise ValueError(f"expected an address, and a script to name it, got {address!r}")
    return f"{before}\nSERVED_BY='{address}'\n{after}"
