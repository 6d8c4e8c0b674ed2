"""YAML and JSON that others wrote, as plain objects: the documents of a file, one after another.

For files that are looked through, not obeyed: unlike ``strict_yaml`` it takes merges and any scalar
for what it is. Nothing but plain objects is made (ruamel's safe loader); a file with another tag is
refused. An alias is the object that it names, so whoever walks them must know where it has been.
"""

import json

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

MOST_BYTES = 64 * 1024 * 1024


def read_documents(text: str) -> list[object]:
    """Read all documents; ValueError says where they cannot be read."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [json.loads(text)]
        except (ValueError, RecursionError):
            pass  # YAML's own braces, perhaps
    try:
        loader = YAML(typ="safe")
        loader.allow_duplicate_keys = True
        return list(loader.load_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"no YAML: something is wrong{where}") from None
    except (YAMLError, ValueError):
        raise ValueError("no YAML: a value in it cannot be read") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None
